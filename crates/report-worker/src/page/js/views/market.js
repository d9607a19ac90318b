// What the models are asked about: prices as the ledger has them, and how fresh they are.

import { age, path } from "../api.js";
import { lineChart } from "../charts.js";
import { Listing, choice, section, stateBox } from "../components.js";
import { el, setText, time } from "../dom.js";
import { axisPrice, duration, integer, percent, price, second } from "../format.js";

const RANGES = [["6", "6 h"], ["24", "24 h"], ["72", "3 days"], ["168", "7 days"]];
const HOUR_MS = 3_600_000;
const CORRECTIONS_SHOWN = 20;

export const market = {
  name: "market",
  title: "Market",
  open: (page) => new Market(page),
};

class Market {
  constructor(page) {
    this.page = page;
    this.hours = RANGES.some(([hours]) => hours === page.query.get("hours")) ? page.query.get("hours") : "24";
    this.assets = new Map();
    this.feeds = new Listing("Feeds", {
      loading: "Loading feeds", empty: "No prices have come yet.",
      caption: "Times are UTC", key: (feed) => `${feed.source} ${feed.asset}`, columns: FEEDS,
    });
    this.timetable = new Listing("What is asked how often", {
      loading: "Loading the timetable", empty: "Nothing is asked.",
      caption: "The assets of a line take turns within its interval",
      key: (line) => `${line.horizon} ${line.assets.join(" ")}`, columns: TIMETABLE,
    });
    this.corrections = new Listing("Corrections of prices", {
      loading: "Loading corrections", empty: "No price was corrected.",
      caption: "Scores that rested on another price are made anew; times are UTC",
      key: (one) => `${one.asset} ${one.at} ${one.recorded_at} ${one.new_price}`, columns: CORRECTIONS,
    });
    this.place = el("div", { class: "columns" }, stateBox("loading", "Loading prices"));
    this.element = el("div", null,
      el("div", { class: "head" }, el("h1", null, "Market"), el("p", null, "Closes as the models are told them")),
      el("div", { class: "controls" }, choice({
        name: "hours", legend: "Span", choices: RANGES, value: this.hours, onchange: (value) => this.choose(value),
      })),
      this.place,
      section("Feeds", null, this.feeds.element),
      section("Corrections", null, this.corrections.element),
      section("Timetable", null, this.timetable.element));
  }

  async load() {
    const [status, { feeds }, { schedules }, { corrections }] = await Promise.all([
      this.page.get(path(["status"])),
      this.page.get(path(["feeds"])),
      this.page.get(path(["schedules"])),
      this.page.get(path(["corrections"], { limit: CORRECTIONS_SHOWN })),
    ]);
    this.corrections.show(corrections);
    this.timetable.show(schedules);
    this.known = feeds;
    this.feeds.show(this.known);
    const prices = await Promise.all(status.assets.map((asset) => this.prices(asset, feeds)));
    this.showPrices(status.assets, prices);
  }

  tick() {
    if (this.known) this.feeds.show(this.known);
  }

  close() {
    for (const { chart } of this.assets.values()) chart.close();
  }

  choose(hours) {
    this.hours = hours;
    this.page.setQuery({ hours });
    this.page.refresh();
  }

  async prices(asset, feeds) {
    const newest = feeds.find((feed) => feed.asset === asset)?.newest_at;
    if (!newest) return [];
    const to = Date.parse(newest);
    const from = new Date(to - Number(this.hours) * HOUR_MS).toISOString();
    const { points } = await this.page.get(path(["prices"], { asset, from, to: newest }));
    return points;
  }

  showPrices(assets, prices) {
    assets.forEach((asset, index) => this.card(asset).show(prices[index], this.hours));
    const elements = assets.map((asset) => this.card(asset).element);
    const isShown = elements.length === this.place.children.length && elements.every((one) => one.parentElement === this.place);
    if (!isShown) this.place.replaceChildren(...elements);
  }

  card(asset) {
    if (!this.assets.has(asset)) this.assets.set(asset, new AssetCard(asset));
    return this.assets.get(asset);
  }
}

class AssetCard {
  constructor(asset) {
    this.asset = asset;
    this.last = el("p", { class: "price" });
    this.chart = lineChart({
      label: `Price of ${asset}`, className: "low", format: price, axisFormat: axisPrice,
      series: [{ label: asset, colour: "--accent", width: 1.5 }],
    });
    this.element = section(asset, null, this.last, this.chart.element);
  }

  show(prices, hours) {
    this.chart.element.hidden = prices.length === 0;
    if (prices.length === 0) {
      setText(this.last, "No prices yet");
      return;
    }
    const [first, last] = [prices[0], prices.at(-1)];
    const change = last.price / first.price - 1;
    this.last.replaceChildren(
      el("b", null, price(last.price)), " ",
      el("span", { class: `change ${change < 0 ? "down" : "up"}` }, `${change < 0 ? "▼" : "▲"} ${percent(Math.abs(change))}`),
      el("small", { class: "quiet" }, ` in ${hours} h, at ${second(last.at)} UTC`));
    const summary = `${price(last.price)}, ${change < 0 ? "down" : "up"} ${percent(Math.abs(change))} in ${hours} hours`;
    this.chart.update([prices.map((point) => Date.parse(point.at) / 1000), prices.map((point) => point.price)], summary);
  }
}

const FEEDS = [
  { title: "Asset", isHead: true, cell: (feed) => feed.asset },
  { title: "Source", cell: (feed) => feed.source },
  { title: "Freshness", class: "nowrap", cell: freshness },
  { title: "Newest close", class: "nowrap", cell: (feed) => time(feed.newest_at, second(feed.newest_at)) },
  { title: "Missing in 24 h", class: "number", cell: missing },
  { title: "Oldest close", class: "nowrap", cell: (feed) => time(feed.oldest_at, second(feed.oldest_at)) },
  { title: "Closes", class: "number", cell: (feed) => integer(feed.count) },
];

/** A close each minute is fresh for two; after ten nobody can be asked. */
function freshness(feed) {
  const old = age(feed.newest_at);
  if (feed.state === "closed") {
    return el("span", { class: "mark" }, feed.closed_until ? `closed until ${second(feed.closed_until)}` : "closed");
  }
  const kind = old < 2.5 * 60_000 ? "fresh" : old < 10 * 60_000 ? "late" : "old";
  return el("span", { class: `mark ${kind}` }, `${duration(old)} old`);
}

/** How many closes are missing although the market was open, and where. */
function missing({ gaps }) {
  const count = gaps.reduce((sum, gap) => sum + gap.missing, 0);
  const places = gaps.map((gap) => `${second(gap.from)} to ${second(gap.to)}: ${integer(gap.missing)}`);
  return el("span", { title: places.join("\n") }, integer(count));
}

const CORRECTIONS = [
  { title: "Asset", isHead: true, cell: (one) => one.asset },
  { title: "Close of", class: "nowrap", cell: (one) => time(one.at, second(one.at)) },
  { title: "Was", class: "number", cell: (one) => (one.old_price === null ? "missing" : price(one.old_price)) },
  { title: "Is", class: "number", cell: (one) => price(one.new_price) },
  { title: "Source", cell: (one) => one.source },
  { title: "Came", class: "nowrap", cell: (one) => time(one.recorded_at, second(one.recorded_at)) },
];

const TIMETABLE = [
  { title: "Horizon", isHead: true, cell: (line) => line.horizon },
  { title: "Steps", cell: (line) => line.steps.join(", ") },
  { title: "Every", cell: (line) => line.every },
  { title: "Assets", cell: (line) => line.assets.join(", ") },
  { title: "Forecast of", cell: (line) => TARGETS[line.target] },
];

const TARGETS = { log_return: "log returns", return: "returns", price_change: "changes of price" };

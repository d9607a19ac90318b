// One model: how it does over time, where it is good, how it answers, and what went wrong last.

import { now, path } from "../api.js";
import { lineChart, stackedChart } from "../charts.js";
import {
  Listing, STATUSES, WINDOWS, badge, choice, scroller, section, stateBox, statusMark, tile, tiles,
} from "../components.js";
import { el, setText, time } from "../dom.js";
import { integer, milliseconds, minute, plural, raw, score, spanSeconds } from "../format.js";
import { roundPath } from "../router.js";

const FAILURES = 20;
const DEPLOYMENTS = 20;
const MOST_MODELS = 1000;
/** As far back as the API counts answers. */
const MOST_HOURS = 168;
const RANGES = [["1", "24 h"], ["7", "7 days"], ["30", "30 days"]];
const HOUR_MS = 3_600_000;

export const model = {
  name: "leaderboard",
  title: "Model",
  open: (page) => new ModelView(page),
};

class ModelView {
  constructor(page) {
    this.page = page;
    [this.id] = page.names;
    this.days = RANGES.some(([days]) => days === page.query.get("days")) ? page.query.get("days") : "7";
    this.window = WINDOWS.some(({ name }) => name === page.query.get("window")) ? page.query.get("window") : "anchor";
    this.heading = el("h1", null, "Model");
    this.subtitle = el("p", null, "…");
    this.doubts = el("div", { class: "doubts", role: "status" });
    this.figures = tiles("The model at a glance");
    this.scores = lineChart({
      label: "Relative score over time", format: score,
      series: WINDOWS.map(({ name, title, span }) => ({ label: `${title} ${span}`, colour: `--${name}` })),
    });
    this.answers = stackedChart({
      label: "Answers by hour", className: "low",
      stack: STACK,
      line: { label: "mean latency", colour: "--text", format: milliseconds },
    });
    this.heat = el("div", { class: "heat-place" }, stateBox("loading", "Loading scores"));
    this.facts = el("dl", { class: "facts" });
    this.failures = new Listing("Latest failures", {
      loading: "Loading failures", empty: "No failures among its latest rounds.",
      caption: "Newest first; times are UTC", key: (one) => one.round_id, columns: FAILURE_COLUMNS,
    });
    this.deployments = new Listing("Deployments", {
      loading: "Loading deployments", empty: "No deployment is on record.",
      caption: "The last first; times are UTC", key: (one) => one.deployment_id, columns: DEPLOYMENT_COLUMNS,
    });
    this.element = el("div", null,
      el("div", { class: "head" }, this.heading, this.subtitle),
      this.doubts,
      this.figures,
      el("div", { class: "controls" }, choice({
        name: "days", legend: "Span of the charts", choices: RANGES, value: this.days, onchange: (value) => this.choose("days", value),
      })),
      section("Score over time", null, this.scores.element),
      el("div", { class: "columns" },
        section("By asset and horizon", null, this.windowChoice(), this.heat),
        section("About", null, this.facts)),
      section("How it answered", null, this.answers.element),
      section("Latest failures", null, this.failures.element),
      section("Deployments", null, this.deployments.element));
  }

  windowChoice() {
    return choice({
      name: "window", legend: "Window", value: this.window,
      choices: WINDOWS.map(({ name, title, span }) => [name, title, el("small", null, ` ${span}`)]),
      onchange: (value) => this.choose("window", value),
    });
  }

  async load() {
    const { page, id } = this;
    const from = new Date(Math.floor(now() / HOUR_MS) * HOUR_MS - Number(this.days) * 24 * HOUR_MS).toISOString();
    const [activity, board, model, history, failures, { deployments }] = await Promise.all([
      page.get(path(["models", id, "activity"], { hours: Math.min(MOST_HOURS, this.days * 24) })),
      page.get(path(["leaderboard"], { limit: MOST_MODELS })),
      page.get(path(["models", id])),
      page.get(path(["models", id, "history"], { from })),
      this.latestFailures(),
      page.get(path(["models", id, "deployments"], { limit: DEPLOYMENTS })),
    ]);
    this.showStanding(board.models.find(({ model_id }) => model_id === id));
    this.showModel(model);
    this.showHistory(history);
    this.showActivity(activity);
    this.failures.show(failures);
    this.deployments.show(deployments);
  }

  /** The newest of each kind of failure, together. */
  async latestFailures() {
    const lists = await Promise.all(["FAILED", "TIMEOUT"].map((status) =>
      this.page.get(path(["models", this.id, "predictions"], { status, limit: FAILURES }))));
    const all = lists.flatMap(({ predictions }) => predictions);
    return all.sort((a, b) => b.performed_at.localeCompare(a.performed_at)).slice(0, FAILURES);
  }

  /** Its row of the leaderboard; nothing for a model without a score, and for one that is excluded. */
  showStanding(row) {
    const name = row?.model_name ?? this.id;
    this.heading.replaceChildren(name, row?.baseline ? badge("baseline") : "");
    this.page.setTitle(name);
    setText(this.subtitle, row?.cruncher_name ? `by ${row.cruncher_name}` : "");
    if (!row) {
      this.figures.replaceChildren(tile("Rank", "–", "no score counts for it"));
      return;
    }
    this.figures.replaceChildren(tile("Rank", integer(row.rank)), ...WINDOWS.map((window) => this.windowTile(row, window)));
  }

  showModel(model) {
    this.heat.replaceChildren(heatMap(model.parameters, this.window));
    this.showFacts(model);
    this.doubts.replaceChildren(...(model.unit_doubts ?? []).map(({ statement }) => el("p", null, `Unit? ${statement}.`)));
  }

  windowTile(model, { name, title, span }) {
    const window = model.windows[name];
    const note = window.full || window.score === null ? null : " provisional";
    return tile(`${title} ${span}`, score(window.score), `raw ${raw(window.raw_score)}${note ?? ""}`);
  }

  showFacts(model) {
    const facts = [
      ["Id", el("code", null, model.model_id)],
      ["Cruncher", model.cruncher_name ?? "–"],
      ["Deployment", el("code", null, model.deployment_id)],
      ["Joined", `${minute(model.joined_at)} UTC`],
      ["Last connected", `${minute(model.last_connected_at)} UTC`],
      ["First score", model.first_scored_at ? `${minute(model.first_scored_at)} UTC` : "none yet"],
    ];
    this.facts.replaceChildren(...facts.flatMap(([name, value]) => [el("dt", null, name), el("dd", null, value)]));
  }

  showHistory({ points }) {
    const columns = [
      points.map((point) => Date.parse(point.as_of) / 1000),
      ...WINDOWS.map(({ name }) => points.map((point) => point[name])),
    ];
    const last = points.at(-1);
    this.scores.update(columns, last && WINDOWS.map(({ name, title }) => `${title} ${score(last[name])}`).join(", "));
  }

  showActivity({ hours }) {
    const columns = [
      hours.map(({ hour }) => Date.parse(hour) / 1000),
      ...STACK.map(({ label }) => hours.map(({ answers }) => answers[label])),
      hours.map(({ answers }) => answers.mean_ms),
    ];
    const total = (label) => hours.reduce((sum, { answers }) => sum + answers[label], 0);
    this.answers.update(columns, STATUSES.map((status) => `${integer(total(status))} ${status}`).join(", "));
  }

  close() {
    this.scores.close();
    this.answers.close();
  }

  choose(name, value) {
    this[name] = value;
    this.page.setQuery({ [name]: value });
    this.page.refresh();
  }
}

/** Scores by asset and horizon: the better, the deeper the colour. */
function heatMap(parameters, window) {
  const unique = (name) => [...new Set(parameters.map((one) => one[name]))];
  const assets = unique("asset");
  const horizons = unique("horizon").sort((a, b) => spanSeconds(a) - spanSeconds(b));
  if (assets.length === 0) return stateBox("empty", "No scores yet.");
  const cell = (asset, horizon) => {
    const found = parameters.find((one) => one.asset === asset && one.horizon === horizon)?.windows[window];
    if (!found || found.score === null) return el("td", { class: "none" }, "–");
    return el("td", { vars: { "--share": found.score }, title: `raw ${raw(found.raw_score)}` },
      el("b", null, score(found.score)), el("small", null, plural(found.prediction_count, "score")));
  };
  return scroller("Scores by asset and horizon", el("table", { class: "heat" },
    el("caption", null, "Mean relative score; 1 is the best of each round"),
    el("thead", null, el("tr", null, el("td"), horizons.map((horizon) => el("th", { scope: "col" }, horizon)))),
    el("tbody", null, assets.map((asset) => el("tr", null,
      el("th", { scope: "row" }, asset), horizons.map((horizon) => cell(asset, horizon)))))));
}

const STACK = STATUSES.map((status) => ({ label: status, colour: `--${status}` }));

const DEPLOYMENT_COLUMNS = [
  { title: "Deployment", isHead: true, cell: (one) => el("code", null, one.deployment_id) },
  { title: "First seen", class: "nowrap", cell: (one) => time(one.first_seen_at, minute(one.first_seen_at)) },
  { title: "Last seen", class: "nowrap", cell: (one) => time(one.last_seen_at, minute(one.last_seen_at)) },
];

const FAILURE_COLUMNS = [
  { title: "Round", isHead: true, class: "nowrap", cell: (one) => el("a", { href: roundPath(one.round_id, one.id) }, time(one.performed_at, minute(one.performed_at))) },
  { title: "Question", class: "nowrap", cell: (one) => `${one.asset} over ${one.horizon}` },
  { title: "Outcome", cell: (one) => statusMark(one.status) },
  { title: "Reason", class: "reason", cell: (one) => one.reason ?? one.failure ?? one.cause ?? "–" },
  { title: "Latency", class: "number", cell: (one) => milliseconds(one.took_ms) },
];

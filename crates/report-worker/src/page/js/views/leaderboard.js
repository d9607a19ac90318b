// All windows of every model side by side; moves while scores come in.

import { age, path } from "../api.js";
import {
  WINDOWS, answersBar, badge, choice, fullness, patch, scroller, select, stateBox, table, tile, tiles,
} from "../components.js";
import { el, setText, time, unseen } from "../dom.js";
import { compact, duration, integer, milliseconds, minute, plural, raw, score } from "../format.js";
import { modelPath } from "../router.js";
import { sparkline } from "../sparkline.js";

/** Rows that are drawn at once; the reader may ask for more. */
const PORTION = 100;
const MAX_MODELS = 1000;

export const leaderboard = {
  name: "leaderboard",
  title: "Leaderboard",
  open: (page) => new Leaderboard(page),
};

class Leaderboard {
  constructor(page) {
    this.page = page;
    this.window = page.query.get("window") ?? "";
    this.asset = page.query.get("asset") ?? "";
    this.horizon = page.query.get("horizon") ?? "";
    this.search = page.query.get("search") ?? "";
    this.trends = { answer: null, scores: new Map() };
    this.filters = { asset: this.filter("asset", []), horizon: this.filter("horizon", []) };
    this.length = PORTION;
    this.asOf = el("p", null, "Rounds resolved up to …");
    this.figures = tiles("At a glance");
    this.table = this.makeTable();
    this.place = el("div", { class: "board-place" }, stateBox("loading", "Loading the leaderboard"));
    this.more = el("button", { type: "button", class: "button more", hidden: true, onclick: () => this.showMore() }, "Show more");
    this.element = el("div", null,
      el("div", { class: "head" }, el("h1", null, "Leaderboard"), this.asOf),
      this.figures,
      el("div", { class: "controls" },
        this.windowChoice(), this.filters.asset.element, this.filters.horizon.element, this.searchField()),
      el("div", { class: "card" }, this.place, this.more),
      explanation());
  }

  async load() {
    const { window, asset, horizon } = this;
    const wanted = { limit: MAX_MODELS, window, asset, horizon };
    this.loadTrends();
    const [board, status, activity] = await Promise.all([
      this.page.get(path(["leaderboard"], wanted)),
      this.page.get(path(["status"])),
      this.page.get(path(["activity"], { hours: 24 })),
    ]);
    this.status = status;
    this.showFigures();
    this.offer("asset", status.assets);
    this.offer("horizon", status.horizons);
    if (board === this.board && activity === this.activity) return;
    this.board = board;
    this.activity = activity;
    this.answers = new Map(activity.models.map((model) => [model.model_id, model.answers]));
    this.show();
  }

  /** The ranking does not wait for them. What goes wrong with them goes wrong with the ranking too, and is told of there. */
  loadTrends() {
    const { asset, horizon } = this;
    const wanted = path(["leaderboard", "trends"], { limit: MAX_MODELS, asset, horizon });
    this.trends.wanted = wanted;
    const show = (answer) => {
      if (answer === this.trends.answer || wanted !== this.trends.wanted) return;
      this.trends.answer = answer;
      this.trends.scores = new Map(answer.models.map((model) => [model.model_id, model.scores]));
      this.show();
    };
    this.page.get(wanted).then(show, () => {});
  }

  tick() {
    if (this.status) this.showFigures();
  }

  showFigures() {
    const { status } = this;
    this.figures.replaceChildren(
      tile("Models", integer(status.total_models), `${integer(status.active_models)} active`),
      tile("Predictions", compact(status.predictions_last_24h), "in 24 h"),
      tile("Rounds scored", compact(status.rounds.scored)),
      tile("Newest price", duration(age(status.freshness.newest_price_at)), "ago"));
  }

  windowChoice() {
    return choice({
      name: "window",
      legend: "Rank by",
      value: this.window,
      choices: [["", "Overall"], ...WINDOWS.map(({ name, title, span }) => [name, title, el("small", null, ` ${span}`)])],
      onchange: (value) => this.choose("window", value),
    });
  }

  /** A list of what the ranking can be by. It has its place from the start; what there is to choose comes with the first answers. */
  filter(name, values) {
    const all = [...new Set([...values, this[name]])].filter((value) => value !== "");
    const element = select({
      label: name === "asset" ? "Asset" : "Horizon",
      value: this[name],
      choices: [["", "All"], ...all.map((value) => [value, value])],
      onchange: (value) => this.choose(name, value),
    });
    return { values: values.join(), element };
  }

  offer(name, values) {
    const shown = this.filters[name];
    if (shown.values === values.join()) return;
    const next = this.filter(name, values);
    next.element = patch(shown.element, next.element);
    this.filters[name] = next;
  }

  searchField() {
    const input = el("input", {
      type: "search",
      value: this.search,
      placeholder: "Model or cruncher",
      oninput: () => {
        this.search = input.value;
        this.length = PORTION;
        this.page.setQuery({ search: this.search });
        this.show();
      },
    });
    return el("label", { class: "field" }, el("span", null, "Search"), input);
  }

  choose(name, value) {
    this[name] = value;
    this.page.setQuery({ [name]: value });
    this.page.refresh();
  }

  showMore() {
    this.length += PORTION;
    this.show();
  }

  show() {
    if (!this.board) return;
    const found = this.board.models.filter((model) => matches(model, this.search));
    this.table.update(found.slice(0, this.length));
    this.table.element.dataset.window = this.window;
    this.table.setCaption(this.captionText(found.length));
    this.more.hidden = found.length <= this.length;
    this.asOf.replaceChildren("Rounds resolved up to ", time(this.board.as_of, `${minute(this.board.as_of)} UTC`));
    setText(document.getElementById("rule"), this.board.rule ? `Scores by ${this.board.rule}` : "");
    if (found.length > 0) {
      if (this.place.firstChild !== this.region) this.place.replaceChildren(this.region);
    } else {
      this.place.replaceChildren(stateBox("empty", this.emptyText()));
    }
  }

  captionText(count) {
    const by = WINDOWS.find(({ name }) => name === this.window)?.span;
    const rescoring = this.board.rescoring;
    const order = by ? `best over ${by} first` : "best over the longest window that they have filled first";
    const note = rescoring ? `. The rule or prices have changed: ${plural(rescoring.rounds_left, "round")} still to be scored again` : "";
    return `${plural(count, "model")}${this.selectionText()}, ${order}${note}`;
  }

  selectionText() {
    const asset = this.asset && ` in ${this.asset}`;
    const horizon = this.horizon && ` over ${this.horizon}`;
    return `${asset}${horizon}`;
  }

  emptyText() {
    if (this.search) return `No model or cruncher has “${this.search}” in its name.`;
    if (!this.board.as_of) return "Nothing is scored yet. The first scores come when the first round has resolved, one horizon after it was asked.";
    return "No model has a score here yet.";
  }

  trendCell(model) {
    const scores = this.trends.scores.get(model.model_id) ?? [];
    const drawn = sparkline(scores);
    return el("span", { class: "trend" }, drawn, drawn && unseen(trendWords(scores)));
  }

  answersCell(model) {
    const answers = this.answers.get(model.model_id);
    return answers ? answersBar(answers) : "–";
  }

  makeTable() {
    const made = table({
      caption: "Models",
      className: "board",
      key: (model) => model.model_id,
      columns: [
        { title: "Rank", class: "rank", cell: (model) => rankCell(model, this.board.before_as_of) },
        { title: "Model", class: "model", isHead: true, cell: nameCell },
        ...WINDOWS.map((window) => ({
          title: `${window.title} ${window.span}`,
          label: window.title,
          class: `window ${window.name}`,
          cell: (model) => scoreCell(model, window, this.board.as_of),
          onchange: glow,
        })),
        { title: "Last 7 days", label: "7 days", class: "trend-cell", cell: (model) => this.trendCell(model) },
        { title: "Answers 24 h", label: "Answers", class: "answers-cell", cell: (model) => this.answersCell(model) },
        { title: "Latency", label: "Latency", class: "latency number", cell: (model) => milliseconds(this.answers.get(model.model_id)?.mean_ms) },
      ],
    });
    this.region = scroller("Leaderboard", made.element);
    return made;
  }
}

function matches(model, search) {
  const wanted = search.trim().toLowerCase();
  return [model.model_name, model.cruncher_name, model.model_id].some((name) => name?.toLowerCase().includes(wanted));
}

function rankCell({ rank, rank_before: before }, since) {
  if (rank === null) return el("b", null, "–");
  return [el("b", null, String(rank)), since && change(rank, before, `since ${minute(since)} UTC`)];
}

/** How a rank has changed, with an arrow and in words. */
function change(rank, before, since) {
  if (rank === before) return null;
  const [kind, mark, words] = before === null ? ["new", "new", "new in the ranking"]
    : rank < before ? ["up", `▲${before - rank}`, `up ${plural(before - rank, "place")}`]
      : ["down", `▼${rank - before}`, `down ${plural(rank - before, "place")}`];
  return el("small", { class: `change ${kind}`, title: `${words} ${since}` },
    el("span", { "aria-hidden": "true" }, ` ${mark}`), unseen(` ${words} ${since}`));
}

function trendWords(scores) {
  const known = scores.filter((score) => score !== null);
  const [first, last] = [known[0], known.at(-1)].map((score) => score.toFixed(3));
  return ` from ${first} to ${last} in the last 7 days`;
}

function nameCell(model) {
  return [
    el("a", { href: modelPath(model.model_id) }, model.model_name), " ",
    // An element of its own: no name can pass for it.
    model.baseline ? badge("baseline") : null,
    el("small", null, model.cruncher_name ?? ""),
  ];
}

function scoreCell(model, window, asOf) {
  const cell = model.windows[window.name];
  return [
    el("b", null, score(cell.score)),
    el("small", { title: "mean raw score, lower is better" }, unseen("raw "), raw(cell.raw_score)),
    cell.full || cell.score === null ? null : fullness(filled(model, window, asOf)),
  ];
}

/** The part of a window since a model's first score, 0 to 1. */
function filled(model, window, asOf) {
  const since = Date.parse(asOf) - Date.parse(model.first_scored_at ?? asOf);
  return Math.min(0.99, since / (window.hours * 3_600_000));
}

/** Shows that a number has changed. */
function glow(cell) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  const accent = getComputedStyle(cell).getPropertyValue("--accent-ground");
  cell.animate([{ backgroundColor: accent }, { backgroundColor: "transparent" }], { duration: 2500 });
}

function explanation() {
  return el("section", { class: "explain", "aria-label": "How to read this" },
    el("p", null, "Scores are relative to the other models of each round: 1 is the best answer, 0 no better than the worst, or no ",
      "valid answer. The small number is the rule’s own mean, lower is better. A short bar shows how much of a window is filled: ",
      "until it is full its numbers are provisional. The arrow is the change of rank in 24 hours; the small chart shows the mean of 24 hours ",
      "over the last 7 days."),
    el("p", null, badge("baseline"), " marks the house’s own models, which are there to compare with and nobody’s entry."));
}

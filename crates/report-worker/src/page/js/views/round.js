// One round: who answered how fast, and once it has resolved every answer against what the price then did.

import { now, path } from "../api.js";
import { lineChart } from "../charts.js";
import {
  Listing, answersBar, badge, scroller, section, statusMark, table, tile, tiles,
} from "../components.js";
import { fan } from "../fan.js";
import { el, setText, time } from "../dom.js";
import { axisPrice, duration, integer, milliseconds, minute, percent, plural, price, raw, score, second } from "../format.js";
import { modelPath } from "../router.js";

const MOST_MODELS = 1000;
/** Increments that are told of; more are drawn only. */
const MOST_INCREMENTS = 300;

export const round = {
  name: "rounds",
  title: "Round",
  open: (page) => new RoundView(page),
};

class RoundView {
  constructor(page) {
    this.page = page;
    [this.id] = page.names;
    this.chosen = page.query.get("model");
    this.heading = el("h1", null, "Round");
    this.subtitle = el("p", null, "…");
    this.figures = tiles("The round at a glance");
    this.answers = new Listing("Answers", {
      loading: "Loading answers", empty: "No answers.",
      caption: "Answers", key: (one) => one.model_id, columns: this.columns(),
    });
    this.detail = new Detail(page);
    this.corrections = el("ul", { class: "notes", hidden: true });
    this.element = el("div", null,
      el("div", { class: "head" }, this.heading, this.subtitle),
      this.figures,
      this.corrections,
      this.detail.element,
      section("Answers", null, this.answers.element));
  }

  async load() {
    const [{ round, prices, corrections }, { predictions }] = await Promise.all([
      this.page.get(path(["rounds", this.id])),
      this.page.get(path(["rounds", this.id, "predictions"], { limit: MOST_MODELS })),
    ]);
    this.round = round;
    this.predictions = predictions;
    // Of an open round no prices are told, and no answers.
    this.isResolved = prices !== null;
    this.showRound();
    this.corrections.replaceChildren(...corrections.map(correctionNote));
    this.corrections.hidden = corrections.length === 0;
    this.showAnswers();
    if (this.isResolved && predictions.length > 0) await this.showDetail(prices);
  }

  tick() {
    if (this.round) this.showRound();
  }

  close() {
    this.detail.close();
  }

  showRound() {
    const { round } = this;
    const title = `${round.asset} over ${round.horizon}`;
    setText(this.heading, title);
    this.page.setTitle(`${title}, ${minute(round.performed_at)}`);
    this.subtitle.replaceChildren(
      "Asked ", time(round.performed_at, `${minute(round.performed_at)} UTC`),
      " · resolves ", time(round.resolves_at, `${minute(round.resolves_at)} UTC`));
    const left = Date.parse(round.resolves_at) - now();
    this.figures.replaceChildren(
      tile("State", left > 0 && !round.scored_at ? "open" : round.state, left > 0 ? `resolves in ${duration(left)}` : round.reason),
      tile("Answers", answersBar(round)),
      tile("Steps", round.steps.join(", "), round.method === "predict_all" ? "all in one question" : null),
      tile("Best raw score", raw(round.best), round.rule),
      tile("95 % quantile", raw(round.q95), "scores 0"));
  }

  showAnswers() {
    const ranked = ranking(this.predictions);
    this.answers.show(ranked);
    if (ranked.length === 0) return;
    this.chosen ??= ranked[0].model_id;
    this.answers.table.setCaption(this.captionText(ranked));
    this.markChosen();
  }

  captionText(ranked) {
    const scored = ranked.filter((one) => one.rank !== null).length;
    if (scored > 0) return `${plural(scored, "valid answer")} of ${plural(ranked.length, "model")}, best first`;
    if (this.round.scored_at) return `${plural(ranked.length, "model")}, none with a valid answer`;
    return `${plural(ranked.length, "model")}; answers are shown when the round has resolved, scores when it is scored`;
  }

  markChosen() {
    for (const row of this.answers.table.element.tBodies[0].rows) {
      const isChosen = row.dataset.key === this.chosen;
      row.classList.toggle("chosen", isChosen);
      row.querySelector("button")?.setAttribute("aria-pressed", String(isChosen));
    }
  }

  async choose(modelId) {
    this.chosen = modelId;
    this.page.setQuery({ model: modelId });
    this.markChosen();
    await this.page.refresh();
    this.detail.element.scrollIntoView({ block: "nearest" });
  }

  async showDetail(prices) {
    const one = this.predictions.find(({ model_id }) => model_id === this.chosen) ?? this.predictions[0];
    await this.detail.load(this.round, prices, one);
  }

  columns() {
    return [
      { title: "Rank", class: "number", cell: (one) => integer(one.rank) },
      { title: "Model", isHead: true, cell: (one) => [
        el("a", { href: modelPath(one.model_id) }, one.model_name), " ", one.baseline ? badge("baseline") : null,
      ] },
      { title: "Relative", class: "number", cell: (one) => score(one.relative) },
      { title: "Raw score", class: "number", cell: (one) => raw(one.raw) },
      { title: "Outcome", class: "reason", cell: outcome },
      { title: "Latency", class: "number", cell: (one) => milliseconds(one.took_ms) },
      { title: "Why", cell: (one) => this.isResolved && el("button", {
        type: "button", class: "button small", "aria-label": `Show the answer of ${one.model_name} and why it has its score`,
        onclick: () => this.choose(one.model_id),
      }, "Show") },
    ];
  }
}

/** What a correction of a price has done to the round. */
function correctionNote({ correction, counts }) {
  const before = correction.old_price === null ? "missing" : price(correction.old_price);
  return el("li", null,
    counts ? "Scored anew after a price correction: " : "Not scored anew after a price correction: ",
    `${before} → ${price(correction.new_price)} for `, time(correction.at, `${second(correction.at)} UTC`),
    ", corrected ", time(correction.recorded_at, `${second(correction.recorded_at)} UTC`));
}

/** Best first, then those without a score by name. */
function ranking(predictions) {
  return [...predictions].sort((a, b) =>
    (a.rank ?? Infinity) - (b.rank ?? Infinity) || a.model_name.localeCompare(b.model_name));
}

/** The chosen model's answer and why it has its score. */
class Detail {
  constructor(page) {
    this.page = page;
    this.title = el("h2", null, "Answer");
    this.place = el("div", { class: "answer-place" });
    this.element = el("section", { class: "card", hidden: true, "aria-live": "off" }, el("div", { class: "card-head" }, this.title), this.place);
    this.charts = [];
  }

  close() {
    for (const chart of this.charts.splice(0)) chart.close();
  }

  async load(round, prices, one) {
    this.element.hidden = false;
    setText(this.title, `How ${one.model_name} answered`);
    const [why, bands] = await Promise.all([
      this.page.get(path(["rounds", round.round_id, "predictions", one.model_id])),
      this.page.get(path(["rounds", round.round_id, "bands"], { models: one.model_id })),
    ]);
    if (why === this.why && bands === this.bands) return;
    this.why = why;
    this.bands = bands;
    this.close();
    this.place.replaceChildren(
      ...drawable(bands, prices).map((step) => this.fanChart(round, prices, step)),
      whyText(round, why),
      ...increments(why));
  }

  fanChart(round, prices, { step, quantiles }) {
    const chart = lineChart({
      label: `Price of ${round.asset} against the answer's bands, steps of ${step}`,
      className: "tall",
      format: price, axisFormat: axisPrice,
      bands: FAN_BANDS,
      series: FAN_SERIES,
    });
    const columns = fan(round, step, quantiles, prices);
    chart.update(columns, fanSummary(columns));
    this.charts.push(chart);
    return el("figure", null,
      el("figcaption", null, `Steps of ${step}: the price (line) against the ranges in which the model expected it with 50 % and 90 %. `,
        "Its answers for single steps are added up as if they were independent."),
      chart.element);
  }
}

/** The steps of an answer that is told, of a round whose first price is known. */
function drawable(bands, prices) {
  return prices[0].price === null ? [] : bands.models[0]?.steps ?? [];
}

const FAN_SERIES = [
  { label: "price", colour: "--text", width: 2 },
  { label: "5 %", colour: "--accent", width: 0, hidden: true },
  { label: "25 %", colour: "--accent", width: 0, hidden: true },
  { label: "median", colour: "--accent", width: 1.5, dash: [6, 4] },
  { label: "75 %", colour: "--accent", width: 0, hidden: true },
  { label: "95 %", colour: "--accent", width: 0, hidden: true },
];

// Numbers of series: 0 is time, 1 the price.
const FAN_BANDS = [
  { series: [6, 2], colour: "--accent", opacity: 0.16 },
  { series: [5, 3], colour: "--accent", opacity: 0.26 },
];

function fanSummary([, happened, low, , median, , high]) {
  const last = happened.findLast((value) => value !== null);
  const inside = happened.filter((value, index) => value !== null && value >= low[index] && value <= high[index]).length;
  const known = happened.filter((value) => value !== null).length;
  return `ended at ${price(last)}, median ${price(median.at(-1))}, 90 % between ${price(low.at(-1))} and ${price(high.at(-1))}; `
    + `inside for ${percent(inside / known)} of the time`;
}

/** How the score came about, in words and numbers. */
function whyText(round, why) {
  const facts = el("dl", { class: "facts" });
  const add = (name, ...value) => facts.append(el("dt", null, name), el("dd", null, ...value));
  const { place, explanation } = why;
  add("Standing", why.standing);
  add("Outcome", ...outcome(why));
  if (why.received_at) add("Received", `${second(why.received_at)} UTC, ${milliseconds(why.took_ms)} after the question`);
  if (why.deployment_id) add("Deployment", el("code", null, why.deployment_id));
  if (why.hidden) add("Answer", why.hidden);
  if (why.refused) add("Refused", el("code", null, why.refused.before, el("mark", null, why.refused.place), why.refused.after));
  if (explanation?.left_out) add("Left out", explanation.left_out);
  if (why.score) {
    add("Raw score", raw(why.score.raw), why.score.failure ? ` ${why.score.failure}` : "");
    add("Relative score", `${score(why.score.relative)}: 1 is the best raw score, ${raw(round.best)}; 0 is ${raw(round.q95)} and worse`);
  }
  if (place) {
    add("Among", place.rank === null
      ? `no rank; ${integer(place.valid)} of ${integer(place.field)} models have a score`
      : `rank ${place.rank} of ${integer(place.valid)} with a score, in a field of ${integer(place.field)}; median ${raw(place.median)}`);
  }
  if (explanation) add("Rule", why.rule, why.agrees ? ", which comes to the score on record" : "");
  if (why.differences.length > 0) add("Differences", why.differences.join("; "));
  return facts;
}

/** How a prediction ended, with the cause in full where it is told. */
function outcome(one) {
  const cause = one.reason ?? one.cause;
  return [statusMark(one.status), cause ? el("small", { class: "quiet" }, ` ${cause}`) : null];
}

/** Every increment that went into the score. */
function increments({ explanation }) {
  return (explanation?.steps ?? []).map((step) => {
    const lines = table({ caption: stepCaption(step), key: (one) => one.to, columns: INCREMENTS });
    lines.update(step.increments.slice(0, MOST_INCREMENTS));
    return el("details", { class: "increments" },
      el("summary", null, `Steps of ${step.step}: ${plural(step.increments.length, "increment")}, mean ${raw(step.mean)}`),
      scroller(`Increments of ${step.step}`, lines.element));
  });
}

function stepCaption({ left_out: leftOut }) {
  return leftOut ? `Left out for every model: ${leftOut}` : "Times are UTC; the mean of the scores is the score of the step";
}

const INCREMENTS = [
  { title: "Until", isHead: true, class: "nowrap", cell: (one) => time(one.to, second(one.to)) },
  { title: "From price", class: "number", cell: (one) => price(one.from_price) },
  { title: "To price", class: "number", cell: (one) => price(one.to_price) },
  { title: "Move", class: "number", cell: (one) => (one.left_out ? one.left_out : raw(one.move)) },
  { title: "Probability of no more", class: "number", cell: (one) => percent(one.cdf) },
  { title: "Score", class: "number", cell: (one) => raw(one.score) },
];

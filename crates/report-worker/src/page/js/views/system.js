// The machinery: is everything at work, what was missed, what did operators do.

import { CAUSES, advice, isLeading, silence } from "../advice.js";
import { age, path } from "../api.js";
import { Listing, section, stateBox, tile, tiles } from "../components.js";
import { el, time } from "../dom.js";
import { bytes, compact, duration, integer, plural, second } from "../format.js";

export const system = {
  name: "system",
  title: "System",
  open: (page) => new System(page),
};

class System {
  constructor(page) {
    this.page = page;
    this.figures = tiles("At a glance");
    this.advice = el("div", { class: "advice" }, stateBox("loading", "Looking at the machinery"));
    this.workers = new Listing("Workers", {
      loading: "Loading the workers", empty: "No worker has said anything in the last day.",
      caption: "Each says every five seconds how it is", key: (worker) => worker.instance, columns: this.columns(),
    });
    this.missed = new Listing("Slots that were missed", {
      loading: "Loading slots", empty: "None was missed in the last 24 hours.",
      caption: "Of the last 24 hours", key: ({ cause }) => cause, columns: MISSED,
    });
    this.audit = new Listing("What operators did", {
      loading: "Loading what operators did", empty: "Operators did nothing yet.",
      caption: "Newest first; times are UTC", key: (order) => String(order.number), columns: ORDERS,
    });
    this.element = el("div", null,
      el("div", { class: "head" }, el("h1", null, "System"), el("p", null, "Workers, slots and operators")),
      this.figures,
      section("What needs attention", null, this.advice),
      section("Workers", null, this.workers.element),
      section("Missed slots", null, this.missed.element),
      section("What operators did", null, this.audit.element));
  }

  async load() {
    const ask = (name) => this.page.get(path([name]));
    const [system, status, audit] = await Promise.all([ask("system"), ask("status"), ask("audit")]);
    this.system = system;
    this.status = status;
    this.tick();
    const missed = Object.entries(system.slots.missed_by_cause).map(([cause, rounds]) => ({ cause, rounds }));
    this.missed.show(missed.toSorted((a, b) => b.rounds - a.rounds));
    this.audit.show(audit.entries);
  }

  /** Ages grow although nothing was told. */
  tick() {
    if (!this.system) return;
    this.showFigures();
    this.showAdvice();
    this.workers.show(this.system.workers);
  }

  showFigures() {
    const { slots, scoring, workers, prices, changes, schema_version: schema } = this.system;
    const { freshness, pause } = this.status;
    const oldest = prices.map(({ newest_at: at }) => at).toSorted()[0];
    const waiting = workers.reduce((sum, worker) => sum + (worker.waiting_writes ?? 0), 0);
    const journals = workers.reduce((sum, worker) => sum + (worker.journal_bytes ?? 0), 0);
    const alive = workers.filter((worker) => worker.alive).length;
    this.figures.replaceChildren(
      tile("Asking", asking(workers, pause), pause ? `by ${pause.by}` : null),
      tile("Workers alive", `${alive} of ${workers.length}`),
      tile("Slots met in 24 h", compact(slots.asked), `${integer(slots.missed)} missed`),
      tile("Waiting in journals", integer(waiting), `writes, ${bytes(journals)}`),
      tile("Scoring is behind", duration(scoring.lag_s * 1000), plural(scoring.due_rounds, "round")),
      tile("Newest scores", duration(age(freshness.leaderboard_as_of)), "ago"),
      tile("Newest prices", duration(age(oldest)), "ago"),
      tile("Last change told", changes.told ? duration(age(changes.told_at)) : "not told", changes.told ? "ago" : "read every second"),
      tile("Schema", schema, `report ${workers.at(-1).version}`));
  }

  showAdvice() {
    const sentences = advice(this.system, this.status);
    const next = sentences.length === 0
      ? el("p", { class: "mark fresh" }, "Nothing: every worker is at work, prices are fresh and scores are up to date.")
      : el("ul", null, sentences.map((text) => el("li", null, text)));
    if (!this.advice.firstChild.isEqualNode(next)) this.advice.replaceChildren(next);
  }

  columns() {
    return [
      { title: "Worker", isHead: true, cell: (worker) => worker.role },
      { title: "State", cell: (worker) => (worker.alive ? worker.state : `silent; was ${worker.state}`) },
      { title: "Last sign", class: "nowrap", cell: (worker) => this.sign(worker) },
      { title: "Machine", class: "reason", cell: (worker) => worker.host || "–" },
      { title: "Version", class: "nowrap", cell: (worker) => `${worker.version}, schema ${worker.schema}` },
      { title: "Started", class: "nowrap", cell: (worker) => time(worker.started_at, second(worker.started_at)) },
      { title: "Work", class: "nowrap", cell: work },
    ];
  }

  sign(worker) {
    return el("span", { class: `mark ${worker.alive ? "fresh" : "old"}` }, `${duration(silence(worker, this.system))} ago`);
  }
}

function asking(workers, pause) {
  if (pause) return "paused";
  return workers.some(isLeading) ? "running" : "nobody asks";
}

/** What waits for the worker. */
function work(worker) {
  const parts = [];
  if (worker.waiting_writes !== null) parts.push(plural(worker.waiting_writes, "write"));
  if (worker.journal_bytes !== null) parts.push(`journal ${bytes(worker.journal_bytes)}`);
  if (worker.due_rounds !== null) parts.push(`${plural(worker.due_rounds, "round")} to score, ${duration(worker.scoring_lag_s * 1000)} behind`);
  return parts.join(", ") || "–";
}

const MISSED = [
  { title: "Why", isHead: true, cell: ({ cause }) => (CAUSES[cause] ?? [cause])[0] },
  { title: "Rounds", class: "number", cell: ({ rounds }) => integer(rounds) },
  { title: "What to do", class: "reason", cell: ({ cause }) => CAUSES[cause]?.[1] ?? "–" },
];

const ORDERS = [
  { title: "At", isHead: true, class: "nowrap", cell: (order) => time(order.at, second(order.at)) },
  { title: "By", cell: (order) => order.by },
  { title: "What", cell: (order) => order.action },
  { title: "Concerning", class: "reason", cell: (order) => order.subject ?? "–" },
  { title: "Why", class: "reason", cell: (order) => order.reason },
];

// Rounds, newest first: open ones with who answered, resolved ones with their scores.

import { now, path } from "../api.js";
import { Listing, answersBar, patch, select } from "../components.js";
import { el, time } from "../dom.js";
import { duration, minute, raw } from "../format.js";
import { roundPath } from "../router.js";

const PORTION = 50;
/** Refreshed lists grow no longer than this: older rounds do not change. */
const LONGEST = 500;
const STATES = ["asked", "closed", "scored", "void", "missed", "interrupted"];

export const rounds = {
  name: "rounds",
  title: "Rounds",
  open: (page) => new Rounds(page),
};

class Rounds {
  constructor(page) {
    this.page = page;
    this.filter = { asset: "", horizon: "", state: "" };
    for (const name of Object.keys(this.filter)) this.filter[name] = page.query.get(name) ?? "";
    this.length = PORTION;
    this.filters = el("div", { class: "controls" });
    this.listing = new Listing("Rounds", {
      loading: "Loading rounds", empty: "No such rounds among the newest.",
      caption: "Newest first; times are UTC", key: (round) => round.round_id, columns: COLUMNS,
    });
    this.more = el("button", { type: "button", class: "button more", hidden: true, onclick: () => this.showMore() }, "Show more");
    this.element = el("div", null,
      el("div", { class: "head" }, el("h1", null, "Rounds"), el("p", null, "A round asks every model one question at one instant")),
      this.filters,
      el("div", { class: "card" }, this.listing.element, this.more));
  }

  async load() {
    const [status, list] = await Promise.all([
      this.page.get(path(["status"])),
      this.page.get(path(["rounds"], { ...this.filter, limit: this.length })),
    ]);
    this.showFilters(status);
    this.list = list;
    this.show();
  }

  tick() {
    if (this.list) this.show();
  }

  showMore() {
    this.length = Math.min(this.length + PORTION, LONGEST);
    this.page.refresh();
  }

  show() {
    const { rounds: found, next } = this.list;
    this.more.hidden = next === null || this.length >= LONGEST;
    this.listing.show(found);
  }

  showFilters({ assets, horizons }) {
    const list = (label, name, values) => select({
      label,
      value: this.filter[name],
      choices: [["", "All"], ...values.map((value) => [value, value])],
      onchange: (value) => {
        this.filter[name] = value;
        this.length = PORTION;
        this.page.setQuery({ [name]: value });
        this.page.refresh();
      },
    });
    const next = el("div", { class: "controls" },
      list("Asset", "asset", assets), list("Horizon", "horizon", horizons), list("State", "state", STATES));
    if (this.filters.children.length === 0) this.filters = patch(this.filters, next);
  }
}

const COLUMNS = [
  { title: "Asked", isHead: true, class: "nowrap", cell: (round) => el("a", { href: roundPath(round.round_id) }, time(round.performed_at, minute(round.performed_at))) },
  { title: "Asset", cell: (round) => round.asset },
  { title: "Horizon", cell: (round) => round.horizon },
  { title: "Steps", cell: (round) => round.steps.join(", ") },
  { title: "State", class: "nowrap", cell: stateOf },
  { title: "Answers", cell: (round) => answersBar(round) },
  { title: "Best raw score", class: "number", cell: (round) => raw(round.best) },
];

/** Where a round stands, in words; a closed one waits until it resolves. */
export function stateOf(round) {
  const left = Date.parse(round.resolves_at) - now();
  if ((round.state === "closed" || round.state === "asked") && left > 0) return `open, resolves in ${duration(left)}`;
  if (round.state === "closed") return "resolved, to be scored";
  return round.reason ? `${round.state}: ${round.reason}` : round.state;
}

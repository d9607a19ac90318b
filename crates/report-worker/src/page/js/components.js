// What several views are made of.

import { el, reconcile, setText, unseen } from "./dom.js";
import { integer, percent } from "./format.js";

export const WINDOWS = [
  { name: "recent", title: "Recent", span: "24 h", hours: 24 },
  { name: "steady", title: "Steady", span: "72 h", hours: 72 },
  { name: "anchor", title: "Anchor", span: "7 days", hours: 168 },
];

export const STATUSES = ["success", "failed", "timeout", "absent"];

/** A box in the place of content that is not there: `kind` is loading, empty or error. */
export function stateBox(kind, text, ...more) {
  return el("div", { class: "state", "data-kind": kind }, el("p", null, text), ...more);
}

/** What a view shows when its first answer is an error. */
export function failureBox(error, retry) {
  return stateBox("error", error.message, el("button", { type: "button", class: "button", onclick: retry }, "Try again"));
}

/** Asks for a key in the place of content that takes one; `use(text)` is given it. */
export function keyBox(text, use) {
  const input = el("input", { type: "password", name: "key", autocomplete: "off", required: true });
  const give = (event) => {
    event.preventDefault();
    use(input.value);
  };
  return el("form", { class: "state key-box", "data-kind": "key", onsubmit: give },
    el("p", null, text),
    el("label", { class: "field" }, el("span", null, "Key"), input),
    el("button", { class: "button" }, "Use this key"),
    el("p", null, el("small", null, "It stays in this tab until that is closed, and goes to this host alone.")));
}

/** Puts `next` in the place of `old` unless they are alike, so that focus and selection survive an update. */
export function patch(old, next) {
  if (old.isEqualNode(next)) return old;
  old.replaceWith(next);
  return next;
}

/**
 * A table that is updated in place. Each column has a `title`, a `cell(item)` that gives its content, and perhaps a `class` and a
 * `label`, which a narrow window shows in the place of the title; the column with `isHead` names the row.
 */
export function table({ caption, columns, key, className }) {
  const body = el("tbody", { role: "rowgroup" });
  const label = el("caption", null, caption);
  const heads = columns.map((column) =>
    el("th", { scope: "col", role: "columnheader", class: column.class }, column.title));
  const element = el("table", { class: className, role: "table" }, label,
    el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, heads)), body);
  const cell = (column, item) => (column.isHead
    ? el("th", { scope: "row", role: "rowheader", class: column.class }, column.cell(item))
    : el("td", { role: "cell", class: column.class, "data-label": column.label }, column.cell(item)));
  const draw = (row, item) => {
    columns.forEach((column, index) => {
      const next = cell(column, item);
      const old = row.children[index];
      if (!old) row.append(next);
      else if (patch(old, next) !== old) column.onchange?.(next, old);
    });
  };
  return {
    element,
    update(items) {
      reconcile(body, items, { key, create: () => el("tr", { role: "row" }), update: draw });
    },
    setCaption: (text) => setText(label, text),
  };
}

/** A region that scrolls sideways by itself, also by keyboard, so that the page does not. */
export function scroller(label, ...children) {
  return el("div", { class: "scroller", role: "region", "aria-label": label, tabindex: "0" }, children);
}

/** A part of a view with a heading. */
export function section(title, attributes, ...children) {
  return el("section", { class: "card", ...attributes }, el("div", { class: "card-head" }, el("h2", null, title)), children);
}

/** One figure with its name; `note` is small and beside it. */
export function tile(name, value, note) {
  return el("div", { class: "tile" }, el("dt", null, name), el("dd", null, value, " ", note && el("small", null, note)));
}

export function tiles(label, ...children) {
  return el("dl", { class: "tiles", "aria-label": label }, children);
}

/** How answers ended, as one bar. */
export function answersBar(counts) {
  const total = STATUSES.reduce((sum, status) => sum + counts[status], 0);
  if (total === 0) return el("span", { class: "quiet" }, "–");
  const words = STATUSES.filter((status) => counts[status] > 0)
    .map((status) => `${integer(counts[status])} ${status}`).join(", ");
  const parts = STATUSES.filter((status) => counts[status] > 0)
    .map((status) => el("span", { class: `part ${status}`, vars: { "--share": counts[status] / total } }));
  return el("div", { class: "answers", title: words },
    el("span", { class: "answers-text" }, percent(counts.success / total), unseen(` answered: ${words}`)),
    el("span", { class: "bar", "aria-hidden": "true" }, parts));
}

/** A status as a coloured word. */
export function statusMark(status) {
  return el("span", { class: `mark ${status.toLowerCase()}` }, status.toLowerCase());
}

export function badge(text) {
  return el("span", { class: "badge" }, text);
}

/** How much of a window is filled, 0 to 1, as a thin bar; nothing for a full one. */
export function fullness(share) {
  if (share >= 1) return null;
  return el("span", { class: "fullness", title: `provisional: ${percent(share)} of this window is filled` },
    el("span", { class: "fill", vars: { "--share": share } }), unseen(` provisional, ${percent(share)} full`));
}

/** A group of choices of which one is chosen. `choices` are pairs of value and content. */
export function choice({ name, legend, choices, value, onchange }) {
  const radios = choices.map(([key, ...content]) =>
    el("label", null,
      el("input", { type: "radio", name, value: key, checked: key === value, onchange: () => onchange(key) }),
      el("span", null, content)));
  return el("fieldset", { class: "choice" }, el("legend", null, legend), el("div", { class: "choices" }, radios));
}

/** A list to choose from, with its label. */
export function select({ label, choices, value, onchange }) {
  const options = choices.map(([key, text]) => el("option", { value: key, selected: key === value }, text));
  const list = el("select", { onchange: (event) => onchange(event.target.value) }, options);
  return el("label", { class: "field" }, el("span", null, label), list);
}

/** A table with its states: loading until there are items, a word where there are none. */
export class Listing {
  constructor(label, { loading, empty, ...options }) {
    this.empty = empty;
    this.table = table(options);
    this.region = scroller(label, this.table.element);
    this.element = el("div", null, stateBox("loading", loading));
  }

  show(items) {
    if (items.length === 0) {
      this.element.replaceChildren(stateBox("empty", this.empty));
      return;
    }
    this.table.update(items);
    if (this.element.firstChild !== this.region) this.element.replaceChildren(this.region);
  }
}

// Which path shows which view. The server answers each of these paths with the page (routes/page.rs).

import { leaderboard } from "./views/leaderboard.js";
import { market } from "./views/market.js";
import { model } from "./views/model.js";
import { round } from "./views/round.js";
import { rounds } from "./views/rounds.js";
import { system } from "./views/system.js";

const ROUTES = [
  [/^\/$/, leaderboard],
  [/^\/models\/([^/]+)$/, model],
  [/^\/rounds$/, rounds],
  [/^\/rounds\/([^/]+)$/, round],
  [/^\/market$/, market],
  [/^\/system$/, system],
];

/** The view of a path and what the path names, such as a model's id; null for a path that is no view's. */
export function match(pathname) {
  for (const [pattern, view] of ROUTES) {
    const found = pattern.exec(pathname);
    if (found) return { view, names: found.slice(1).map(decodeURIComponent) };
  }
  return null;
}

export const modelPath = (id) => `/models/${encodeURIComponent(id)}`;
export const roundPath = (id, modelId) => `/rounds/${encodeURIComponent(id)}${modelId ? `?model=${encodeURIComponent(modelId)}` : ""}`;

/** Calls `show(isBack)` when a link to a view was followed, and when the reader goes back or forward. */
export function watch(show) {
  document.addEventListener("click", (event) => {
    const anchor = event.target.closest?.("a[href]");
    if (!anchor || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const url = new URL(anchor.href);
    const isHere = url.pathname === location.pathname && url.search === location.search && url.hash !== "";
    if (url.origin !== location.origin || isHere || anchor.hasAttribute("download") || !match(url.pathname)) return;
    event.preventDefault();
    rememberScroll();
    history.pushState(null, "", url);
    show(false);
  });
  addEventListener("popstate", () => show(true));
}

/** Notes in the address what the reader chose, so that it can be shared; no step back leads out of it. */
export function setQuery(changes) {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === "") query.delete(name);
    else query.set(name, value);
  }
  const text = query.toString();
  history.replaceState(history.state, "", text ? `?${text}` : location.pathname);
}

function rememberScroll() {
  history.replaceState({ scroll: scrollY }, "");
}

/** Where the reader was on this view before leaving it. */
export function rememberedScroll() {
  return history.state?.scroll ?? 0;
}

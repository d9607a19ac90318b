// The frame around the views: shows the one that the address names, keeps it fresh, and says how fresh it is.

import { get } from "./api.js";
import { redrawCharts } from "./charts.js";
import { failureBox, keyBox } from "./components.js";
import { el, setText } from "./dom.js";
import { duration } from "./format.js";
import { hasKey, onKey, setKey } from "./key.js";
import { follow } from "./live.js";
import { match, rememberedScroll, setQuery, watch } from "./router.js";

/** Events that come together are answered by one refresh. */
const GATHER_MS = 250;
const POLL_MS = 5_000;
/** With events, what is not told of (ages, counts) is still asked for now and then. */
const POLL_WHEN_LIVE_MS = 30_000;
const TITLE = "condor";

const byId = (id) => document.getElementById(id);

let shown = null;
let isLive = false;
let gathering = null;
let lastPollAt = Date.now();

/** A view as it is shown: it may be left while its answers are under way. */
class Shown {
  constructor(view, names) {
    this.leaving = new AbortController();
    this.isLoaded = false;
    this.isStale = false;
    this.failure = null;
    this.freshAt = null;
    this.isBusy = false;
    this.isWanted = false;
    this.view = view.open({
      names,
      query: new URLSearchParams(location.search),
      get: (path) => this.note(get(path, this.leaving.signal)),
      setQuery,
      refresh: () => this.refresh(),
      setTitle: (title) => this.setTitle(title),
    });
    this.element = el("div", null, this.view.element);
    this.setTitle(view.title);
  }

  setTitle(title) {
    this.title = title;
    document.title = `${title} · ${TITLE}`;
  }

  async note(answer) {
    const value = await answer;
    if (value?.stale) this.isStale = true;
    return value;
  }

  /** Asks for everything again; what is asked for meanwhile is done once more afterwards. */
  async refresh() {
    this.isWanted = true;
    if (this.isBusy) return;
    this.isBusy = true;
    while (this.isWanted && !this.leaving.signal.aborted) {
      this.isWanted = false;
      await this.load();
    }
    this.isBusy = false;
  }

  async load() {
    const wasStale = this.isStale;
    this.isStale = false;
    try {
      await this.view.load();
      this.failure = null;
      this.freshAt = Date.now();
      if (!this.isLoaded) this.showContent();
    } catch (error) {
      if (this.leaving.signal.aborted) return;
      if (error.name !== "ApiError") throw error;
      this.isStale = wasStale;
      this.failure = error;
      if (this.wantsKey()) this.askForKey();
      else if (!this.isLoaded) this.showFailure(error);
    }
    showFreshness();
  }

  showContent() {
    this.isLoaded = true;
    // Who is moved loses the focus.
    if (!this.view.element.isConnected) this.element.replaceChildren(this.view.element);
    performance.mark("usable");
  }

  /** In the place of a view that has nothing to show. */
  showFailure(error) {
    this.element.replaceChildren(el("h1", null, this.title), failureBox(error, () => this.refresh()));
  }

  /** Nothing is asked for until there is another key. */
  wantsKey() {
    return this.failure?.status === 401;
  }

  askForKey() {
    this.isLoaded = false;
    const text = hasKey()
      ? "This key is not known here. Type another, or ask who runs this competition for one."
      : "Reading takes a key here. Who runs this competition gives them out.";
    this.element.replaceChildren(el("h1", null, this.title), keyBox(text, setKey));
    if (hasKey()) this.element.querySelector("input").focus();
  }

  leave() {
    this.leaving.abort();
    this.view.close?.();
  }
}

function show(isBack) {
  const found = match(location.pathname);
  shown?.leave();
  if (!found) return;
  markLink(found.view.name);
  shown = new Shown(found.view, found.names);
  const main = byId("main");
  main.replaceChildren(shown.element);
  const current = shown;
  const ready = current.refresh();
  if (isBack === undefined) return;
  scrollTo(0, 0);
  announce(main);
  if (isBack) ready.then(() => shown === current && scrollTo(0, rememberedScroll()));
}

/** A change of view is told as a change of page would be: its heading has the focus. */
function announce(main) {
  const heading = main.querySelector("h1");
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
}

function markLink(name) {
  for (const anchor of document.querySelectorAll("nav.views a")) {
    if (anchor.dataset.view === name) anchor.setAttribute("aria-current", "page");
    else anchor.removeAttribute("aria-current");
  }
}

/** Refreshes once for all that is told of within a moment. */
function refreshSoon() {
  gathering ??= setTimeout(() => {
    gathering = null;
    if (!document.hidden && !shown?.wantsKey()) shown?.refresh();
  }, GATHER_MS);
}

/** Refreshes now and then, whether something was told of or not. */
function poll() {
  setTimeout(() => {
    const isWanted = !document.hidden && !shown?.wantsKey();
    if (isWanted && (!isLive || Date.now() - lastPollAt >= POLL_WHEN_LIVE_MS)) {
      lastPollAt = Date.now();
      shown?.refresh();
    }
    poll();
  }, POLL_MS);
}

function showFreshness() {
  const { state, label, text } = freshness();
  byId("connection").dataset.state = state;
  setText(byId("connection-text"), label);
  const notice = byId("notice");
  notice.hidden = !text;
  notice.dataset.kind = state;
  setText(notice, text ?? "");
}

function freshness() {
  if (!shown?.isLoaded && !shown?.failure) return { state: "connecting", label: "Loading" };
  if (shown.wantsKey()) return { state: "locked", label: "Key needed" };
  if (shown.failure?.status === 404) return { state: "live", label: "Live" };
  if (shown.failure) {
    const since = shown.freshAt ? ` What you see is ${duration(Date.now() - shown.freshAt)} old.` : "";
    return { state: "offline", label: "Stale", text: `${shown.failure.message}${since} Trying again by itself.` };
  }
  if (shown.isStale) {
    return { state: "stale", label: "Stale", text: "The database cannot be read at the moment: this is what was read last." };
  }
  return isLive ? { state: "live", label: "Live" } : { state: "polling", label: "Polling" };
}

async function showFrame() {
  const status = await get("/api/v1/status", new AbortController().signal).catch(() => null);
  if (!status) return;
  setText(byId("crunch"), status.crunch_id);
  const label = byId("price-label");
  label.hidden = !status.price_label;
  setText(label, status.price_label ?? "");
}

const THEMES = { auto: "Theme: as the system", light: "Theme: light", dark: "Theme: dark" };

function showTheme() {
  const theme = document.documentElement.dataset.theme ?? "auto";
  const button = byId("theme");
  button.dataset.theme = theme;
  button.title = THEMES[theme];
  button.setAttribute("aria-label", `${THEMES[theme]}. Change`);
}

function changeTheme() {
  const names = Object.keys(THEMES);
  const next = names[(names.indexOf(document.documentElement.dataset.theme ?? "auto") + 1) % names.length];
  if (next === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  try {
    localStorage.setItem("theme", next);
  } catch {
    // The reader's browser keeps nothing: the choice holds until the page is left.
  }
  showTheme();
  redrawCharts();
}

byId("theme").addEventListener("click", changeTheme);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawCharts);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) refreshSoon();
});
setInterval(() => {
  shown?.view.tick?.();
  showFreshness();
}, 1000);

onKey(() => {
  shown?.refresh();
  showFrame();
});
watch(show);
showTheme();
show();
showFrame();
poll();
follow("/api/v1/events", {
  onOpen() {
    isLive = true;
    showFreshness();
    // What came before the line was there was not told.
    refreshSoon();
  },
  onLost() {
    if (isLive) refreshSoon();
    isLive = false;
    showFreshness();
  },
  onEvent: refreshSoon,
});

// Shows the leaderboard and keeps it fresh. Names come from participants: they are set as text only.
"use strict";

const REFRESH_MS = 5000;
const GIVE_UP_MS = 8000;
// Rounds of the default game resolve every few minutes; an hour without a new score is worth a word.
const OLD_MS = 60 * 60 * 1000;
const MAX_ROWS = 1000;

const WINDOWS = ["recent", "steady", "anchor"];
const byId = (id) => document.getElementById(id);
const integer = new Intl.NumberFormat("en");
const percent = new Intl.NumberFormat("en", { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });

let shown = ""; // the leaderboard as it was received last
let board = null;
let status = null;
let clockOffsetMs = 0; // the coordinator's time minus ours
let failure = null;
let timer = 0;
let request = new AbortController();

function setText(id, text) {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
}

// "2025-05-29T00:00:00.123Z" -> "2025-05-29 00:00:00 UTC"
function instant(text) {
  return text ? `${text.slice(0, 10)} ${text.slice(11, 19)} UTC` : "–";
}

function ageMs(text) {
  return text ? Math.max(0, Date.now() + clockOffsetMs - Date.parse(text)) : null;
}

function ago(ms) {
  if (ms === null) return "–";
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 2 * 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} days ago`;
}

function score(value) {
  return value === null ? "–" : value.toFixed(4);
}

function raw(value) {
  if (value === null) return "–";
  const size = Math.abs(value);
  return size !== 0 && (size < 0.001 || size >= 1e6) ? value.toExponential(3) : value.toPrecision(4);
}

function cell(kind, className, ...content) {
  const element = document.createElement(kind);
  if (className) element.className = className;
  element.append(...content);
  return element;
}

function scoreCell(name, window) {
  const content = [score(window.score)];
  if (window.score !== null && !window.full) {
    content.push(" ", cell("span", "provisional", "provisional"));
  }
  return cell("td", `number ${name}`, ...content);
}

function row(model) {
  const anchor = model.windows.anchor;
  // An element of its own: no name can pass for it.
  const mark = model.baseline ? [" ", cell("span", "baseline", "baseline")] : [];
  const name = cell("th", "", model.model_name, ...mark);
  name.scope = "row";
  name.title = model.model_id;
  return cell(
    "tr", "",
    cell("td", "rank", model.rank === null ? "–" : String(model.rank)),
    name,
    cell("td", "cruncher", model.cruncher_name ?? "–"),
    ...WINDOWS.map((window) => scoreCell(window, model.windows[window])),
    cell("td", "number", raw(anchor.raw_score)),
    cell("td", "number", integer.format(anchor.prediction_count)),
    cell("td", "number", anchor.success_rate === null ? "–" : percent.format(anchor.success_rate)),
  );
}

function chosenWindow() {
  return byId("switch").elements.window.value;
}

function captionText() {
  const by = { "": "by the longest window they have filled", recent: "by the last 24 hours", steady: "by the last 72 hours", anchor: "by the last 7 days" };
  const part = board.total > board.count ? `The first ${integer.format(board.count)} of ${integer.format(board.total)} models` : `${integer.format(board.count)} models`;
  return `${part}, best first, ${by[board.window ?? ""]}`;
}

function showBoard() {
  byId("table").dataset.window = board.window ?? "";
  byId("table").setAttribute("aria-busy", "false");
  byId("rows").replaceChildren(...board.models.map(row));
  setText("caption", captionText());
  setText("rule", board.rule ?? "–");
  setText("as-of", instant(board.as_of));
  if (board.as_of) byId("as-of").dateTime = board.as_of;
  byId("empty").hidden = board.models.length > 0;
  setText("empty", board.as_of
    ? "No model has a score in this window yet."
    : "Nothing is scored yet. The first scores appear when the first round has resolved, one horizon after it was asked.");
}

function showStatus() {
  const predictions = status.predictions;
  const total = predictions.success + predictions.failed + predictions.timeout + predictions.absent;
  setText("crunch", status.crunch_id);
  document.title = `${status.crunch_id} leaderboard`;
  byId("price-label").hidden = !status.price_label;
  setText("price-label", status.price_label ?? "");
  byId("pause").hidden = !status.pause;
  setText("pause", status.pause ? `paused by ${status.pause.by}: ${status.pause.reason}` : "");
  setText("total-models", integer.format(status.total_models));
  setText("active-models", integer.format(status.active_models));
  setText("total-predictions", integer.format(total));
  setText("recent-predictions", integer.format(status.predictions_last_24h));
  setText("scored-rounds", integer.format(status.rounds.scored));
}

// Once a second: what changes with time alone. The notice is announced only when its words change.
function showAges() {
  const age = board ? ageMs(board.as_of) : null;
  setText("age", age === null ? "" : `(${ago(age)})`);
  setText("newest-price", status ? ago(ageMs(status.freshness.newest_price_at)) : "–");
  const [kind, text] = notice(age);
  byId("notice").dataset.kind = kind;
  setText("notice", text);
}

function notice(age) {
  if (failure && !board) return ["error", `${failure} Trying again every few seconds.`];
  if (failure) return ["error", `${failure} This is what was received last; trying again every few seconds.`];
  if (!board || !status) return ["loading", "Loading…"];
  if (board.stale || status.stale) return ["stale", "The database cannot be read at the moment: this is what was read last."];
  if (age !== null && age > OLD_MS) return ["stale", "No new scores for over an hour."];
  if (board.rescoring) return ["stale", `The scoring rule has changed: ${integer.format(board.rescoring.rounds_left)} rounds are still to be scored again.`];
  return ["fresh", "Up to date. Refreshes by itself."];
}

async function fetchText(path, signal) {
  let response;
  try {
    response = await fetch(path, { signal });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new Error("The report worker cannot be reached.");
  }
  if (response.ok) return response.text();
  const problem = await response.json().catch(() => ({}));
  throw new Error(problem.detail ?? `The report worker answered with status ${response.status}.`);
}

async function load(signal) {
  const window = chosenWindow();
  const path = `/api/v1/leaderboard?limit=${MAX_ROWS}${window ? `&window=${window}` : ""}`;
  const [boardText, statusText] = await Promise.all([fetchText(path, signal), fetchText("/api/v1/status", signal)]);
  status = JSON.parse(statusText);
  clockOffsetMs = Date.parse(status.now) - Date.now();
  showStatus();
  if (boardText !== shown) {
    shown = boardText;
    board = JSON.parse(boardText);
    showBoard();
  }
}

async function refresh() {
  clearTimeout(timer);
  request.abort();
  const current = request = new AbortController();
  try {
    await load(AbortSignal.any([current.signal, AbortSignal.timeout(GIVE_UP_MS)]));
    failure = null;
  } catch (error) {
    if (current.signal.aborted) return; // a newer refresh has taken over
    failure = error.name === "TimeoutError" ? "The report worker does not answer." : error.message;
  }
  showAges();
  if (!document.hidden) timer = setTimeout(refresh, REFRESH_MS);
}

function restoreChoice() {
  const wanted = location.hash.slice(1);
  if (WINDOWS.includes(wanted)) byId("switch").elements.window.value = wanted;
}

byId("switch").addEventListener("change", () => {
  history.replaceState(null, "", chosenWindow() ? `#${chosenWindow()}` : location.pathname);
  refresh();
});
byId("switch").addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
setInterval(showAges, 1000);
restoreChoice();
refresh();

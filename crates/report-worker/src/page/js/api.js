// Asks the API. What is unchanged on the server is the same object here, so that a view sees at once that nothing changed.

import { authorization, onKey } from "./key.js";

const GIVE_UP_MS = 10_000;
const KEPT_ANSWERS = 64;

/** By path: the tag of the last answer and what was in it; the one asked for last is the last. */
const kept = new Map();

let clockOffsetMs = 0;

// What one key may see another may not.
onKey(() => kept.clear());

/** The server's time: ages are reckoned from it, for the reader's clock may be wrong. */
export function now() {
  return Date.now() + clockOffsetMs;
}

/** How long ago an instant was, in milliseconds; null for none. */
export function age(instant) {
  return instant ? Math.max(0, now() - Date.parse(instant)) : null;
}

/** An answer that is an error, or none at all. */
export class ApiError extends Error {
  /** `status` is 0 when there was no answer. */
  constructor(message, status) {
    super(message);
    this.name = "ApiError";
    this.status = status;
  }
}

/** A path under /api/v1; parameters that are null, undefined or empty are left out. */
export function path(parts, parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const query = new URLSearchParams(given).toString();
  return `/api/v1/${parts.map(encodeURIComponent).join("/")}${query && `?${query}`}`;
}

/** What a path answers. Throws an `ApiError`, or what `signal` was aborted with. */
export async function get(path, signal) {
  const known = kept.get(path);
  const response = await answer(path, signal, known ? { "If-None-Match": known.tag } : {});
  noteTime(response);
  if (response.status === 304) {
    keep(path, known);
    return known.value;
  }
  const value = await response.json();
  const tag = response.headers.get("ETag");
  if (tag) keep(path, { tag, value });
  return value;
}

async function answer(path, signal, headers) {
  const patience = AbortSignal.timeout(GIVE_UP_MS);
  let response;
  try {
    // The tags are our own: the browser's store would hide from us what is unchanged.
    const sent = { ...headers, ...authorization() };
    response = await fetch(path, { headers: sent, cache: "no-store", signal: AbortSignal.any([signal, patience]) });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new ApiError(patience.aborted ? "The server does not answer." : "The server cannot be reached.", 0);
  }
  if (response.ok || response.status === 304) return response;
  const problem = await response.json().catch(() => ({}));
  throw new ApiError(problem.detail ?? `The server answered with status ${response.status}.`, response.status);
}

function keep(path, entry) {
  kept.delete(path);
  kept.set(path, entry);
  if (kept.size > KEPT_ANSWERS) kept.delete(kept.keys().next().value);
}

function noteTime(response) {
  const date = Date.parse(response.headers.get("Date") ?? "");
  // Whole seconds: half of one is the best guess at what was cut off.
  if (!Number.isNaN(date)) clockOffsetMs = date + 500 - Date.now();
}

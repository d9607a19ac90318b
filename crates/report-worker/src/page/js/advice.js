// What of the machinery needs somebody's attention, and what to do about it.

import { age } from "./api.js";
import { duration, integer, plural } from "./format.js";

const MINUTE_MS = 60_000;
/** Prices come every minute; after this long nobody can be asked. */
const OLD_PRICE_MS = 10 * MINUTE_MS;
/** Writes leave a journal within seconds. */
const LONG_WAIT_MS = MINUTE_MS;
/** A round is scored within seconds of its prices. */
const LATE_SCORES_S = 15 * 60;

/** Why slots are missed: in words, and what to do. */
export const CAUSES = {
  starting: ["The models were not set up yet", "It passes by itself after a start"],
  paused: ["An operator paused the competition", "condor resume"],
  market_closed: ["The asset's market was closed", "Nothing"],
  no_fresh_price: ["The price of the slot had not come", "Look at the price source"],
  overrun: ["The worker came to it too late", "Look at the load of its machine"],
  not_marked: ["Neither database nor journal took the mark", "Look at the database, and at the journal's disk"],
  lead_lost: ["Another predict worker had taken the lead", "Nothing: that one asked"],
  not_running: ["No predict worker ran", "Start condor predict, a second one to stand by"],
  not_scheduled: ["The schedules of that time did not have it", "Nothing"],
  other: ["For another reason", "The list of rounds has it"],
};

/** How long nothing was heard of a worker, in milliseconds. */
export function silence(worker, system) {
  return worker.silent_s * 1000 + age(system.as_of);
}

/** True for the one worker that asks. */
export function isLeading(worker) {
  return worker.role === "predict" && worker.alive && worker.state === "leading";
}

/** Sentences, the most pressing first; none when all is well. */
export function advice(system, status) {
  return [...ofWorkers(system), ...ofJournals(system), ...ofPrices(system), ...ofScoring(system), ...ofPause(status)];
}

function ofWorkers(system) {
  const alive = (role) => system.workers.filter((worker) => worker.role === role && worker.alive);
  const found = [];
  if (!system.workers.some(isLeading)) {
    found.push("No predict worker leads, so no model is asked: start condor predict, or look at what its log says it waits for.");
  }
  if (alive("score").length === 0) {
    found.push("No score worker is alive, so nothing is scored: start condor score, or look at its log.");
  }
  for (const worker of system.workers.filter(({ alive }) => !alive)) {
    found.push(`The ${worker.role} worker on ${worker.host} has fallen silent: it was killed, or cannot reach the database. `
      + "Its log says which; it leaves this list a day later.");
  }
  const versions = new Set(system.workers.map(({ version }) => version));
  if (versions.size > 1) {
    found.push(`The workers are of different versions (${[...versions].join(", ")}): restart the older ones.`);
  }
  return found;
}

function ofJournals({ workers }) {
  return workers.filter(({ oldest_waiting_at: since }) => age(since) > LONG_WAIT_MS).map((worker) =>
    `${plural(worker.waiting_writes, "write")} of the predict worker on ${worker.host} wait for the database, the oldest for `
    + `${duration(age(worker.oldest_waiting_at))}: nothing is lost, but look at the database.`);
}

function ofPrices({ prices }) {
  const old = prices.filter(({ newest_at: at, expected }) => expected && age(at) > OLD_PRICE_MS).map(({ asset }) => asset);
  if (old.length === 0) return [];
  return [`The newest price of ${old.join(", ")} is more than ten minutes old, so that nobody is asked about it: look at the price source.`];
}

function ofScoring({ scoring }) {
  if (scoring.lag_s < LATE_SCORES_S) return [];
  return [`${integer(scoring.due_rounds)} rounds wait for their scores, the oldest for ${duration(scoring.lag_s * 1000)}: prices are `
    + "missing, or the score workers cannot keep up."];
}

function ofPause({ pause }) {
  return pause ? [`${pause.by} has paused the competition (${pause.reason}): condor resume ends that.`] : [];
}

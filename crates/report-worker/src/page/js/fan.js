// A model's answer in a round, drawn against what the price then did.

import { spanSeconds } from "./format.js";

/** By the round's target: the logarithm of the price's growth in a move, the price being about `first`. */
const GROWTH = {
  log_return: (move) => move,
  return: (move) => Math.log1p(move),
  price_change: (move, first) => Math.log1p(move / first),
};

/**
 * The columns of a fan chart: instants in seconds, the price, then the quantiles of the price at each instant.
 *
 * A model gives the distribution of each increment by itself. The fan adds them up as if they were independent: medians are summed,
 * and so are the squares of each quantile's distance from its median, which is exact for normal distributions of log returns.
 *
 * `quantiles`: by increment, a list of moves, the median in the middle, null where there is none. `prices`: those that the round is
 * scored by, the first at its start.
 */
export function fan(round, step, quantiles, prices) {
  const first = prices[0].price;
  const growth = GROWTH[round.target];
  const known = priceAt(prices);
  const levels = quantiles[0].length;
  const middle = (levels - 1) / 2;
  const instants = [Date.parse(round.performed_at) / 1000];
  const columns = Array.from({ length: levels }, () => [first]);
  const squares = new Array(levels).fill(0);
  let median = 0;
  for (const moves of quantiles) {
    instants.push(instants.at(-1) + spanSeconds(step));
    // One that is not finite is null, and so is all that is added to it.
    const center = moves[middle] === null ? NaN : growth(moves[middle], first);
    median += center;
    moves.forEach((move, level) => {
      squares[level] += move === null ? NaN : (growth(move, first) - center) ** 2;
      const distance = Math.sign(level - middle) * Math.sqrt(squares[level]);
      const value = first * Math.exp(median + distance);
      columns[level].push(Number.isFinite(value) ? value : null);
    });
  }
  return [instants, instants.map(known), ...columns];
}

function priceAt(prices) {
  const known = new Map(prices.map(({ instant, price }) => [Date.parse(instant) / 1000, price]));
  return (instant) => known.get(instant) ?? null;
}

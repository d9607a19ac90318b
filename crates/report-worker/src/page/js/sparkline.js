// Small charts: one line in a box of fixed size.

import { svg } from "./dom.js";

const WIDTH = 96;
const HEIGHT = 26;
const MARGIN = 3;

/** The height of the box is at least this much of a score, so that nobody takes noise for a trend. */
const LEAST_SPAN = 0.1;

/** Scores from left to right, with gaps where they are null; nothing while there are not two. For the eye alone: say it in words too. */
export function sparkline(scores) {
  const known = scores.filter((score) => score !== null);
  if (known.length < 2) return null;
  const [least, most] = [Math.min(...known), Math.max(...known)];
  const x = (at) => (MARGIN + ((WIDTH - 2 * MARGIN) * at) / (scores.length - 1)).toFixed(1);
  const y = (score) => (HEIGHT / 2 - ((HEIGHT - 2 * MARGIN) * (score - (least + most) / 2)) / Math.max(LEAST_SPAN, most - least)).toFixed(1);
  const last = scores.findLastIndex((score) => score !== null);
  return svg("svg", { class: "sparkline", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT, "aria-hidden": "true" },
    svg("path", { d: line(scores, x, y) }),
    svg("circle", { cx: x(last), cy: y(scores[last]), r: 2 }));
}

function line(scores, x, y) {
  const steps = scores.map((score, at) => {
    if (score === null) return "";
    const isJoined = at > 0 && scores[at - 1] !== null;
    return `${isJoined ? "L" : "M"}${x(at)} ${y(score)}`;
  });
  return steps.join("");
}

// Charts over time (uPlot) and small ones (SVG). Colours are CSS variables, read when a chart is drawn, so that it follows the theme.

import { el, setText } from "./dom.js";
import { minute } from "./format.js";

/** Charts that are in the document, to be drawn again when the theme changes. */
const charts = new Set();

export function redrawCharts() {
  for (const chart of charts) chart.redraw();
}

const probe = document.head.appendChild(el("meta", { name: "colour-probe" }));

/** What a variable of the theme is as a colour that a canvas understands, with an opacity. */
function colour(name, opacity = 1) {
  probe.style.color = `color-mix(in srgb, var(${name}) ${opacity * 100}%, transparent)`;
  return getComputedStyle(probe).color;
}

/**
 * A chart of lines over time, in UTC.
 *
 * `series`: each with a `label` and a `colour`, perhaps `width`, `dash`, `bars`, `hidden` from the legend, its own `format`, and
 * `value(at)`, what the legend tells of the point number `at`. `bands`: pairs of series between which is filled, with `colour` and
 * `opacity`. `format`: of the values, and `axisFormat` of those on the axis. `range(min, max)`: what the axis spans. `right`: the
 * format of a second axis, for series with the scale `right`.
 *
 * The element has its size from the style sheet before there is any data, so that nothing moves when it comes.
 */
export function lineChart({ label, className = "", ...options }) {
  const legend = new Legend(options);
  const canvas = el("div", { class: "plot" });
  const element = el("div", { class: `chart ${className}`, role: "img", "aria-label": label }, legend.element, canvas);
  let plot = null;
  let data = null;

  const draw = () => {
    const size = { width: canvas.clientWidth, height: canvas.clientHeight };
    if (!data || size.width === 0) return;
    if (plot) {
      plot.setSize(size);
      return;
    }
    plot = new uPlot({ ...size, ...plotOptions(options), hooks: { setCursor: [() => legend.show(data, plot)] } }, data, canvas);
    charts.add(plot);
  };
  const observer = new ResizeObserver(draw);
  observer.observe(canvas);

  return {
    element,
    /** `columns`: the instants in seconds, then one list of values for each series. `summary`: the chart in words. */
    update(columns, summary) {
      data = columns;
      element.setAttribute("aria-label", summary ? `${label}: ${summary}` : label);
      legend.show(data, plot);
      if (plot) plot.setData(data);
      else draw();
    },
    close() {
      observer.disconnect();
      if (!plot) return;
      charts.delete(plot);
      plot.destroy();
    },
  };
}

/** What the lines are, and their values where the pointer is, else the last ones. */
class Legend {
  constructor({ series, format }) {
    this.instant = el("span", { class: "legend-time" });
    this.items = series.map((one, index) => ({ one, index, format: one.value ?? ((at, value) => (one.format ?? format)(value)), value: el("b") }));
    this.items = this.items.filter(({ one }) => !one.hidden);
    this.element = el("div", { class: "legend" },
      this.items.map(({ one, value }) =>
        el("span", null, el("span", { class: "key", vars: { "--key": `var(${one.colour})` } }), `${one.label} `, value)),
      this.instant);
  }

  show(data, plot) {
    const at = plot?.cursor.idx ?? data[0].length - 1;
    const instant = data[0][at];
    setText(this.instant, instant === undefined ? "" : `${minute(new Date(instant * 1000).toISOString())} UTC`);
    for (const { index, format, value } of this.items) setText(value, format(at, data[index + 1][at]));
  }
}

function plotOptions({ series, bands = [], format, axisFormat = format, right, range }) {
  const axis = {
    stroke: () => colour("--quiet"),
    grid: { stroke: () => colour("--line", 0.7), width: 1 },
    ticks: { show: false },
    font: "12px system-ui, sans-serif",
  };
  const labels = (write) => (_, values) => values.map((value) => write(value));
  return {
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
    cursor: { points: { size: 6 }, y: false, drag: { x: false } },
    legend: { show: false },
    scales: { y: range ? { range: (_, min, max) => range(min, max) } : {} },
    axes: [
      { ...axis, space: 70, values: AXIS_TIMES },
      { ...axis, size: 64, values: labels(axisFormat) },
      ...(right ? [{ ...axis, scale: "right", side: 1, size: 64, grid: { show: false }, values: labels(right) }] : []),
    ],
    series: [{}, ...series.map(plotSeries)],
    bands: bands.map((band) => ({ series: band.series, fill: () => colour(band.colour, band.opacity) })),
  };
}

// The day only where it changes; 24 hours.
const DAY = "\n{D} {MMM}";
const AXIS_TIMES = [
  [86_400, "{D} {MMM}", null, null, null, null, null, null, 1],
  [3600, "{HH}:{mm}", DAY, null, DAY, null, null, null, 1],
  [60, "{HH}:{mm}", DAY, null, DAY, null, null, null, 1],
  [1, "{HH}:{mm}:{ss}", DAY, null, DAY, null, null, null, 1],
];

function plotSeries({ colour: name, bars, dash, scale = "y", width = 2 }) {
  return {
    scale,
    dash,
    stroke: () => colour(name),
    fill: bars ? () => colour(name) : undefined,
    paths: bars ? uPlot.paths.bars({ size: [0.85, 40], align: 1 }) : undefined,
    width: bars ? 0 : width,
    points: { show: false },
  };
}

/**
 * Counts over time as bars on top of each other, and a line with an axis of its own at the right.
 *
 * `stack`: each with a `label` and a `colour`, from the bottom up. `line`: the same, with a `format`.
 */
export function stackedChart({ label, stack, line, className }) {
  let counts = [];
  // Each bar is drawn from the bottom, the highest first, so that the lower ones cover it.
  const bars = stack.map((one, place) => ({ ...one, bars: true, value: (at) => String(counts[place][at] ?? "–") })).reverse();
  const chart = lineChart({
    label,
    className,
    format: String,
    right: line.format,
    range: (min, max) => [0, Math.max(1, max)],
    series: [...bars, { ...line, width: 1.5, scale: "right" }],
  });
  return {
    element: chart.element,
    close: chart.close,
    /** `columns`: the instants in seconds, then the counts of each of the stack, then the line. */
    update([instants, ...columns], summary) {
      counts = columns.slice(0, stack.length);
      const sums = [];
      for (const column of counts) sums.push(column.map((count, at) => count + (sums.at(-1)?.[at] ?? 0)));
      chart.update([instants, ...sums.reverse(), columns.at(-1)], summary);
    },
  };
}

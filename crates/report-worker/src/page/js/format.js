// Numbers, times and spans in words. A missing value is a dash.

const DASH = "–";
const integers = new Intl.NumberFormat("en");
const compacts = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const percents = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 1 });

const orDash = (write) => (value, ...rest) => (value === null || value === undefined ? DASH : write(value, ...rest));

export const integer = orDash((value) => integers.format(value));
export const compact = orDash((value) => (value < 10_000 ? integers.format(value) : compacts.format(value)));
export const percent = orDash((value) => percents.format(value));

/** A relative score, 0 to 1. */
export const score = orDash((value) => value.toFixed(4));

/** A raw score: of any size. */
export const raw = orDash((value) => {
  const size = Math.abs(value);
  return size !== 0 && (size < 1e-5 || size >= 1e6) ? value.toExponential(2) : value.toPrecision(4);
});

export const price = orDash((value) => {
  const digits = Math.abs(value) >= 1000 ? 2 : Math.abs(value) >= 1 ? 4 : 6;
  return value.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: digits });
});

/** A price on an axis: as many digits as tell lines apart. */
export const axisPrice = orDash((value) => value.toLocaleString("en", { maximumFractionDigits: Math.abs(value) >= 1000 ? 0 : 4 }));

export const milliseconds = orDash((value) => {
  if (value < 1) return "<1 ms";
  if (value < 1000) return `${Math.round(value)} ms`;
  return `${(value / 1000).toFixed(value < 10_000 ? 2 : 1)} s`;
});

/** "2026-01-31T12:00:00.123Z" as "2026-01-31 12:00". */
export const minute = orDash((instant) => `${instant.slice(0, 10)} ${instant.slice(11, 16)}`);

/** The same to the second. */
export const second = orDash((instant) => `${instant.slice(0, 10)} ${instant.slice(11, 19)}`);

/** The time of day alone. */
export const clock = orDash((instant) => instant.slice(11, 16));

/** Seconds of a span as the API writes it: "90s", "15m", "24h", "7d". */
export function spanSeconds(text) {
  return Number.parseInt(text, 10) * { s: 1, m: 60, h: 3600, d: 86_400 }[text.at(-1)];
}

/** How long something takes or took, to its largest unit. */
export const duration = orDash((milliseconds) => {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 2 * 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} days`;
});

export const bytes = orDash((value) => {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, value)) / 3));
  return `${(value / 1000 ** power).toFixed(power === 0 ? 0 : 1)} ${units[power]}`;
});

export function plural(count, one, many = `${one}s`) {
  return `${integers.format(count)} ${count === 1 ? one : many}`;
}

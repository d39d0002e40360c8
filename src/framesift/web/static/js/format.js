// Numbers and times as people read them.

/** Seconds as 1:02.5 (tenths, where they are asked for) or 1:00:02. */
export function clock(seconds, { tenths = true } = {}) {
  const unit = tenths ? 10 : 1;
  const total = Math.round(Math.max(0, seconds) * unit);
  const whole = Math.floor(total / unit);
  const parts = [Math.floor(whole / 60) % 60, whole % 60];
  const hours = Math.floor(whole / 3600);
  const text = hours
    ? `${hours}:${String(parts[0]).padStart(2, "0")}:${String(parts[1]).padStart(2, "0")}`
    : `${parts[0]}:${String(parts[1]).padStart(2, "0")}`;
  return tenths ? `${text}.${total % 10}` : text;
}

/** A stretch: 0:03.5–0:05.2. */
export const stretch = (start, end) => `${clock(start)}–${clock(end)}`;

/** How long: 45 s, 3 min, 2.5 h. */
export function lasting(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

export const percent = (share) => `${Math.round(100 * share)} %`;

export const score = (value) => (Math.abs(value) >= 10 ? value.toFixed(1) : value.toFixed(2));

export const count = (number, singular, plural = `${singular}s`) =>
  `${number.toLocaleString("en")} ${number === 1 ? singular : plural}`;

/** A day, from seconds since 1970 or an ISO date; empty where there is none. */
export function day(when) {
  if (when === null || when === undefined) return "";
  const date = new Date(typeof when === "number" ? when * 1000 : when);
  return Number.isNaN(date.getTime()) ? "" : date.toISOString().slice(0, 10);
}

/** The last part of a path. */
export const lastFolder = (path) => path.split(/[\\/]/).filter(Boolean).at(-1) ?? path;

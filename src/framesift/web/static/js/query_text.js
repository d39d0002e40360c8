// Filters as words of the query: the panel and the text always say the same, so the address holds both.

const NAMES = ["folder", "name", "tag", "after", "before", "longer", "shorter"];
const PIECE = /(?:"(?:[^"\\]|\\.)*"|\S)+/g;
const FILTER = new RegExp(`^(${NAMES.join("|")}):(.+)$`, "is");

const unquote = (text) => (/^".*"$/s.test(text) ? text.slice(1, -1).replace(/\\(["\\])/g, "$1") : text);
const quote = (text) => (/^[^\s"\\]+$/.test(text) ? text : `"${text.replace(/["\\]/g, "\\$&")}"`);

/** The filters of a query: `{ folder: ["holiday"], tag: ["beach", "sea"] }`. */
export function filtersOf(text) {
  const found = Object.fromEntries(NAMES.map((name) => [name, []]));
  for (const [piece] of text.matchAll(PIECE)) {
    const filter = FILTER.exec(piece);
    if (filter) found[filter[1].toLowerCase()].push(unquote(filter[2]));
  }
  return found;
}

/** The query with other values for one filter; the words stay as they were typed. */
export function withFilter(text, name, values) {
  const rest = text
    .replace(PIECE, (piece) => (FILTER.exec(piece)?.[1].toLowerCase() === name ? "" : piece))
    .replace(/ {2,}/g, " ")
    .trim();
  const added = values.filter((value) => value !== "").map((value) => `${name}:${quote(value)}`);
  return [rest, ...added].filter(Boolean).join(" ");
}

/** The query without any filter. */
export const withoutFilters = (text) => NAMES.reduce((rest, name) => withFilter(rest, name, []), text);

/** Seconds of a length such as 30s, 2m or 1h30m; null where it is none. */
export function lengthInSeconds(text) {
  const units = { s: 1, sec: 1, m: 60, min: 60, h: 3600 };
  let total = 0;
  const rest = text.replace(/(\d+(?:\.\d+)?|\.\d+)\s*([a-z]*)/gi, (_, amount, unit) => {
    total += Number(amount) * (units[unit.toLowerCase()] ?? (unit ? Number.NaN : 1));
    return "";
  });
  return rest.trim() === "" && Number.isFinite(total) && text.trim() !== "" ? total : null;
}

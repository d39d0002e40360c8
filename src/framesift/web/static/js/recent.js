// What this browser looked for last, kept in this browser only.

const KEPT = "framesift-recent";
const MOST = 12;

export function recentSearches() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEPT) ?? "[]");
    return Array.isArray(kept) ? kept.filter((entry) => typeof entry?.q === "string" && typeof entry?.address === "string") : [];
  } catch {
    return [];
  }
}

export function remember(q, address) {
  if (!q.trim()) return;
  const others = recentSearches().filter((entry) => entry.q !== q);
  keep([{ q, address }, ...others].slice(0, MOST));
}

export const forget = () => keep([]);

function keep(entries) {
  try {
    localStorage.setItem(KEPT, JSON.stringify(entries));
  } catch {
    // no storage: nothing is remembered
  }
}

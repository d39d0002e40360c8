"use strict";

// The page is complete without this: it adds sorting, the choice of a theme, and the place in the contents.

const root = document.documentElement;

// Theme: what the reader's system says, until the button is used. file:// pages may have no storage.
const button = document.getElementById("theme");
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches);
const nameButton = () => {
  button.textContent = isDark() ? "Light theme" : "Dark theme";
};
try {
  const kept = localStorage.getItem("framesift-theme");
  if (kept === "dark" || kept === "light") root.dataset.theme = kept;
} catch {}
button.hidden = false;
nameButton();
prefersDark.addEventListener("change", nameButton);
button.addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  nameButton();
  try {
    localStorage.setItem("framesift-theme", root.dataset.theme);
  } catch {}
});

// Sorting: each head becomes a button. Numbers start with the largest, words with A; values that are missing stay last.
const words = new Intl.Collator("en", { numeric: true });

function sortBy(table, heads, column) {
  const head = heads[column];
  const isNumber = head.classList.contains("number");
  const first = isNumber ? "descending" : "ascending";
  const second = isNumber ? "ascending" : "descending";
  const order = head.getAttribute("aria-sort") === first ? second : first;
  for (const other of heads) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", order);
  const sign = order === "ascending" ? 1 : -1;
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const value = (row) => row.cells[column]?.dataset.sort;
  rows.sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x !== undefined && y !== undefined) return sign * (x - y);
    if (x !== undefined || y !== undefined) return x === undefined ? 1 : -1;
    return sign * words.compare(a.cells[column].textContent, b.cells[column].textContent);
  });
  body.append(...rows);
}

for (const table of document.querySelectorAll(".sortable table")) {
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  heads.forEach((head, column) => {
    if (!head.textContent.trim()) return;
    const control = document.createElement("button");
    control.type = "button";
    control.title = "Sort by " + head.textContent.trim();
    control.append(...head.childNodes);
    head.append(control);
    control.addEventListener("click", () => sortBy(table, heads, column));
  });
}

// Contents: folded on a narrow screen; the section in view is marked.
const contents = document.getElementById("contents");
const narrow = matchMedia("(max-width: 959px)");
const fold = () => {
  contents.open = !narrow.matches;
};
fold();
narrow.addEventListener("change", fold);
contents.addEventListener("click", (event) => {
  if (narrow.matches && event.target.closest("a")) contents.open = false;
});

const links = new Map([...contents.querySelectorAll("a")].map((link) => [link.hash.slice(1), link]));
const headings = [...document.querySelectorAll("main h2[id], main h3[id]")];
let marked = null;
function mark() {
  const passed = headings.filter((heading) => heading.getBoundingClientRect().top < 80);
  const link = links.get((passed.at(-1) ?? headings[0])?.id);
  if (!link || link === marked) return;
  marked?.removeAttribute("aria-current");
  link.setAttribute("aria-current", "true");
  if (!narrow.matches) link.scrollIntoView({ block: "nearest" });
  marked = link;
}
let waiting = false;
addEventListener(
  "scroll",
  () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      mark();
    });
  },
  { passive: true },
);
mark();

// On paper everything is unfolded.
const opened = [];
addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("main details:not([open])")) {
    part.open = true;
    opened.push(part);
  }
});
addEventListener("afterprint", () => {
  for (const part of opened.splice(0)) part.open = false;
});

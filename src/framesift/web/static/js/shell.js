// What every page begins with: which indexes there are, and which one this page is about.

import { get } from "./api.js";
import { byId, setOptions } from "./dom.js";

/**
 * The indexes, and the one that is chosen by `?index=`. Links to other pages keep the choice.
 * `choose(name)` is called when the reader takes another one; without it the page is loaded anew.
 */
export async function openShell({ choose } = {}) {
  const { indexes } = await get("/api/indexes");
  const wanted = new URLSearchParams(location.search).get("index");
  const shell = { indexes, current: indexes.find(({ name }) => name === wanted) ?? indexes[0] ?? null };
  const select = byId("index");
  setOptions(select, indexes.map(({ name }) => [name, name]), shell.current?.name);
  select.closest("label").hidden = indexes.length < 2;
  keepIndex(shell);
  select.addEventListener("change", () => {
    shell.current = indexes.find(({ name }) => name === select.value);
    keepIndex(shell);
    if (choose) choose(shell.current.name);
    else {
      const address = new URL(location.href);
      address.searchParams.set("index", select.value);
      location.assign(address);
    }
  });
  return shell;
}

/** Shows another index as chosen, as when the reader goes back. */
export function showIndex(shell, name) {
  shell.current = shell.indexes.find((index) => index.name === name) ?? shell.indexes[0] ?? null;
  if (shell.current) byId("index").value = shell.current.name;
  keepIndex(shell);
}

function keepIndex(shell) {
  const first = shell.indexes[0]?.name;
  for (const link of document.querySelectorAll("a[data-keep-index]")) {
    const address = new URL(link.href);
    if (shell.current && shell.current.name !== first) address.searchParams.set("index", shell.current.name);
    else address.searchParams.delete("index");
    link.href = address.pathname + address.search;
  }
}

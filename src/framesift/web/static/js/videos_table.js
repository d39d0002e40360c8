// The videos of an index, with what is known of each and, where one failed, why.

import { frameAddress, get, withValues } from "./api.js";
import { element, fill } from "./dom.js";
import { clock, count, day } from "./format.js";
import { inTurn } from "./pictures.js";
import { announce, complain } from "./say.js";

const PAGE = 25;

/** @returns {{ refresh(): Promise<void> }} `index()` names the index */
export function videosTable(place, { index }) {
  const name = element("input", { id: "name-filter", type: "search", placeholder: "Name or folder", "aria-label": "Filter by name or folder", autocomplete: "off" });
  const status = element(
    "select",
    { id: "status-filter" },
    [["all", "all"], ["ok", "indexed"], ["failed", "failed"]].map(([value, label]) => element("option", { value }, label)),
  );
  const told = element("span", { class: "note", role: "status" });
  const body = element("tbody");
  const table = element(
    "div",
    { class: "scroll", tabIndex: 0, role: "region", "aria-label": "Table of videos" },
    element(
      "table",
      { class: "videos" },
      element("thead", {}, element("tr", {}, ["", "Video", "Length", "Picture", "Changed", "Tags"].map((head, place) =>
        element(head ? "th" : "td", head ? { scope: "col", class: place === 2 ? "number" : "" } : {}, head)))),
      body,
    ),
  );
  const back = element("button", { type: "button", on: { click: () => turn(-PAGE) } }, "Previous");
  const on = element("button", { type: "button", on: { click: () => turn(PAGE) } }, "Next");
  const at = element("span", {});
  const paging = element("div", { class: "paging" }, back, on, at);
  let offset = 0;
  let waiting = null;

  const refresh = async () => {
    try {
      const found = await get("/api/videos", { index: index(), offset, limit: PAGE, status: status.value, q: name.value.trim() });
      fill(body, found.videos.map((video) => row(video, index())));
      table.hidden = found.videos.length === 0;
      told.textContent = found.total ? count(found.total, "video") : "No videos like this.";
      paging.hidden = found.total <= PAGE;
      back.disabled = offset === 0;
      on.disabled = offset + PAGE >= found.total;
      at.textContent = `${offset + 1}–${Math.min(found.total, offset + PAGE)} of ${found.total.toLocaleString("en")}`;
    } catch (error) {
      complain(error);
    }
  };
  const turn = async (by) => {
    offset = Math.max(0, offset + by);
    await refresh();
    announce(at.textContent);
  };
  const anew = () => {
    offset = 0;
    refresh();
  };
  name.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(anew, 250);
  });
  status.addEventListener("change", anew);
  fill(place, element("div", { class: "narrowing" }, name, element("label", {}, "Show ", status), told), table, paging);
  return { refresh: anew };
}

function row(video, index) {
  const failed = video.status === "failed";
  const id = video.video_id;
  const page = withValues(`/video/${encodeURIComponent(id)}`, { index });
  const picture = failed ? "" : inTurn(element("img", { alt: "" }), frameAddress(id, (video.duration_s ?? 0) / 2, 160, index));
  const size = video.width ? `${video.width} × ${video.height}` : "";
  return element(
    "tr",
    {},
    element("td", {}, picture),
    element(
      "td",
      { class: "name" },
      failed ? video.name : element("a", { href: page }, video.name),
      element("small", {}, video.folder),
      failed && element("span", { class: "reason" }, element("b", { class: "state-word failed" }, "Failed: "), video.error),
    ),
    element("td", { class: "number" }, video.duration_s ? clock(video.duration_s, { tenths: false }) : ""),
    element("td", {}, size, video.codec && element("small", {}, video.codec)),
    element("td", {}, day(video.modified_at)),
    element("td", {}, (video.tags ?? []).join(", ")),
  );
}

// The library page: indexes, folders to add, jobs, and every video with its state.

import { byId, element, fill } from "./dom.js";
import { addFolder } from "./folders.js";
import { count, lasting } from "./format.js";
import { jobsList } from "./jobs.js";
import { listen } from "./keys.js";
import { complain } from "./say.js";
import { openShell } from "./shell.js";
import { videosTable } from "./videos_table.js";
import { get, withValues } from "./api.js";

let shell = null;

const current = () => shell.current?.name;

function drawIndexes() {
  fill(
    byId("indexes"),
    shell.indexes.map((index) => {
      const facts = {
        Videos: count(index.videos, "video"),
        Moments: `${count(index.moments, "moment")}, ${lasting(index.duration_s ?? 0)}`,
        Failed: index.failed ? count(index.failed, "file") : null,
        Model: index.model,
        Subtitles: index.subtitles ? count(index.subtitles, "line") : null,
        Place: index.path,
      };
      return element(
        "li",
        { class: "panel", "aria-current": index.name === current() ? "true" : null },
        element("h3", {}, index.name),
        element(
          "dl",
          { class: "pairs" },
          Object.entries(facts)
            .filter(([, value]) => value)
            .flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]),
        ),
        element("a", { href: withValues("/", { index: index.name }) }, "Search it"),
      );
    }),
    !shell.indexes.length && element("li", { class: "note" }, "This server has no index."),
  );
}

async function open() {
  listen({});
  try {
    shell = await openShell();
  } catch (error) {
    complain(error);
    return;
  }
  drawIndexes();
  if (!shell.current) return;
  const videos = videosTable(byId("videos"), { index: current });
  const jobs = jobsList(byId("jobs"), {
    finished: async () => {
      videos.refresh();
      shell.indexes = (await get("/api/indexes")).indexes;
      drawIndexes();
    },
  });
  addFolder(byId("add"), { index: current, started: jobs.add });
  await Promise.all([videos.refresh(), jobs.refresh()]);
}

open();

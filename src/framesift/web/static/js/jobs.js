// Jobs that index: their progress as it happens, what failed and why, and a way to stop them.

import { get, send } from "./api.js";
import { element, fill } from "./dom.js";
import { count, lasting } from "./format.js";
import { announce, complain } from "./say.js";

const RUNNING = new Set(["queued", "running"]);
const STATES = { queued: "Waiting", running: "Running", done: "Done", failed: "Failed", cancelled: "Cancelled" };
const POLL_MS = 2000;

/** @returns {{ refresh(): Promise<void>, add(job): void }} `finished(job)` is called when a job comes to an end */
export function jobsList(place, { finished }) {
  const shown = new Map(); // job id -> { item, job, source }

  const update = (job) => {
    const known = shown.get(job.id);
    if (!known) {
      const item = element("li", { class: "job panel" });
      place.prepend(item);
      place.querySelector(".none")?.remove();
      shown.set(job.id, { item, job, close: () => {} });
    }
    const entry = shown.get(job.id);
    const before = entry.job.state;
    entry.job = job;
    draw(entry.item, job);
    if (RUNNING.has(job.state)) {
      if (!known || !RUNNING.has(before)) entry.close = listenTo(job.id, update);
    } else {
      entry.close();
      if (RUNNING.has(before) && known) {
        announce(`${STATES[job.state]}: ${job.paths.join(", ")}`);
        finished(job);
      }
    }
  };

  return {
    async refresh() {
      try {
        const { jobs } = await get("/api/jobs");
        for (const job of [...jobs].sort((a, b) => a.created_at - b.created_at)) update(job);
        if (!shown.size) fill(place, element("li", { class: "none note" }, "No jobs yet."));
      } catch (error) {
        complain(error);
      }
    },
    add: update,
  };
}

/** Follows a job by server-sent events; where they break off, by asking again and again. Returns how to stop. */
function listenTo(id, update) {
  const path = `/api/jobs/${encodeURIComponent(id)}`;
  const source = new EventSource(`${path}/events`);
  let timer = null;
  const take = (event) => update(JSON.parse(event.data));
  source.addEventListener("message", take);
  source.addEventListener("job", take);
  source.addEventListener("error", () => {
    if (source.readyState !== EventSource.CLOSED || timer !== null) return;
    timer = setInterval(() => get(path).then(update, () => {}), POLL_MS);
  });
  return () => {
    source.close();
    clearInterval(timer);
  };
}

function draw(item, job) {
  const folds = item.querySelector("details")?.open ?? false;
  const running = RUNNING.has(job.state);
  const known = job.total > 0;
  const told = [
    known ? `${job.done.toLocaleString("en")} of ${count(job.total, "file")}` : null,
    job.added ? `${job.added} added` : null,
    job.replaced ? `${job.replaced} anew` : null,
    job.skipped ? `${job.skipped} known already` : null,
    job.pruned ? `${job.pruned} forgotten` : null,
    running && job.eta_s ? `${lasting(job.eta_s)} left` : null,
    job.message || null,
  ].filter(Boolean);
  const bar = running && element("progress", { "aria-label": `Progress of ${job.paths.join(", ")}` });
  if (bar && known) {
    bar.max = job.total;
    bar.value = job.done;
  }
  const failed = job.failed ?? [];
  fill(
    item,
    element(
      "div",
      { class: "job-head" },
      element("b", { class: "paths" }, job.paths.join(", ") || job.kind),
      element("span", { class: "note" }, `into ${job.index}`),
      element("span", { class: "state" }, STATES[job.state] ?? job.state),
      running && element("button", { type: "button", "aria-label": `Cancel ${job.paths.join(", ")}`, on: { click: () => cancel(job) } }, "Cancel"),
    ),
    bar,
    told.length > 0 && element("p", { class: "note" }, told.join(" · ")),
    failed.length > 0 &&
      element(
        "details",
        { open: folds },
        element("summary", {}, `${count(job.num_failed ?? failed.length, "file")} could not be indexed`),
        element(
          "ul",
          { class: "failures" },
          failed.map(({ path, name, reason }) => element("li", { title: path }, name ?? path, element("small", {}, reason))),
        ),
      ),
  );
}

const cancel = (job) => send("DELETE", `/api/jobs/${encodeURIComponent(job.id)}`).catch(complain);

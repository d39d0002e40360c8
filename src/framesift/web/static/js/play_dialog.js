// A moment in a dialog, playing from where it begins.

import { get, ofVideo } from "./api.js";
import { element } from "./dom.js";
import { stretch } from "./format.js";
import { playIn } from "./playback.js";
import { complain } from "./say.js";

/**
 * @param {object} result as of /api/search
 * @param {object} options `at` where to begin, in seconds; `index`; `page` address of the video's own page
 */
export async function openPlayer(result, { at = result.start_s, index, page }) {
  let video;
  let playable;
  try {
    [video, playable] = await Promise.all(["", "playable"].map((part) => get(ofVideo(result.video_id, part, { index }))));
  } catch (error) {
    complain(error);
    return;
  }
  const moment = { start: result.start_s, end: result.end_s, index };
  const place = element("div", { class: "player" });
  const dialog = element(
    "dialog",
    { class: "play-dialog", "aria-labelledby": "playing" },
    element("h2", { id: "playing" }, result.video ?? video.name),
    element("p", { class: "note" }, `Moment ${stretch(result.start_s, result.end_s)}`),
    place,
    element(
      "p",
      { class: "away" },
      element("button", { type: "button", on: { click: () => player.seek(result.start_s) } }, "Again from the moment"),
      element("a", { class: "button", href: page }, "Page of the video"),
      element("a", { class: "button", href: ofVideo(result.video_id, "cut", moment), download: "" }, "Cut a clip"),
      element("a", { class: "button", href: ofVideo(result.video_id, "sheet", moment), download: "" }, "Contact sheet"),
    ),
    element("button", { type: "button", class: "close", on: { click: () => dialog.close() } }, "Close"),
  );
  const before = document.activeElement;
  document.body.append(dialog);
  const player = playIn(place, video, playable, { index, start_s: at, autoplay: true });
  dialog.addEventListener("close", () => {
    player.stop();
    dialog.remove();
    before?.focus();
  });
  dialog.showModal();
}

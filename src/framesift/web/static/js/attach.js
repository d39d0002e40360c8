// A picture or clip as (part of) the query: chosen, dropped anywhere on the page, or pasted.

import { upload } from "./api.js";
import { byId } from "./dom.js";
import { announce, complain } from "./say.js";

const isExample = (file) => /^(?:image|video)\//.test(file.type) || /\.(?:mkv|avi|mxf|ts|heic)$/i.test(file.name);

/** Calls `attached({ id, kind, name, preview })` with each example; `preview` is a blob address of a picture, or null. */
export function listenForExamples(attached) {
  const field = byId("file");
  const button = byId("attach");
  const box = byId("box");

  const take = async (file) => {
    if (!file) return;
    if (!isExample(file)) {
      complain(`${file.name} is neither an image nor a video.`);
      return;
    }
    button.disabled = true;
    announce(`Sending ${file.name}`);
    try {
      const kept = await upload(file);
      attached({ ...kept, name: kept.name ?? file.name, preview: file.type.startsWith("image/") ? URL.createObjectURL(file) : null });
    } catch (error) {
      complain(error);
    } finally {
      button.disabled = false;
      field.value = "";
    }
  };

  button.addEventListener("click", () => field.click());
  field.addEventListener("change", () => take(field.files[0]));
  addEventListener("paste", (event) => {
    const [file] = event.clipboardData?.files ?? [];
    if (!file) return;
    event.preventDefault();
    take(file);
  });
  addEventListener("dragover", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    box.classList.add("dropping");
  });
  addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) box.classList.remove("dropping");
  });
  addEventListener("drop", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    box.classList.remove("dropping");
    take(event.dataTransfer.files[0]);
  });
}

// The REST API: JSON in and out, errors with the server's words, the token asked for when the server wants one.

import { byId } from "./dom.js";

/** What the server refused, in its words; `code` as in docs/api.md. */
export class ApiError extends Error {
  constructor(message, { status = 0, code = "", retryAfter = null } = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }
}

const BUSY_TRIES = 4;

let asking = null;

/** Asks for the token until the server takes one; requests that come meanwhile wait for the same answer. */
function askForToken() {
  asking ??= new Promise((resolve) => {
    const dialog = byId("token-dialog");
    const form = dialog.querySelector("form");
    const field = byId("token");
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const response = await fetch("/api/session", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ token: field.value }),
      }).catch(() => null);
      if (response?.ok) {
        field.value = "";
        dialog.close();
        asking = null;
        resolve();
      } else {
        byId("token-error").textContent = response ? "That is not this server's token." : "The server does not answer.";
        field.select();
      }
    });
    dialog.showModal();
  });
  return asking;
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function request(path, options = {}, tries = BUSY_TRIES) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The server does not answer. Is it still running?");
  }
  if (response.status === 401) {
    await askForToken();
    return request(path, options, tries);
  }
  if (response.ok) return response;
  const retryAfter = Number(response.headers.get("Retry-After")) || 1;
  if (response.status === 503 && tries > 0) {
    await pause(1000 * retryAfter);
    return request(path, options, tries - 1);
  }
  const body = await response.json().catch(() => null);
  const { code, message } = body?.error ?? {};
  throw new ApiError(message ?? `The server answered with status ${response.status}.`, {
    status: response.status,
    code,
    retryAfter,
  });
}

/** GET as JSON. `values` that are null, undefined or empty are left out of the address. */
export async function get(path, values = {}, options = {}) {
  const response = await request(withValues(path, values), options);
  return response.json();
}

/** Sends JSON with POST, PUT or DELETE; returns the answer's JSON, or null where there is none. */
export async function send(method, path, body, options = {}) {
  const response = await request(path, {
    method,
    headers: body === undefined ? {} : { "Content-Type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
    ...options,
  });
  return response.headers.get("Content-Type")?.includes("json") ? response.json() : null;
}

/** Sends a file of the user's. */
export async function upload(file) {
  const form = new FormData();
  form.append("file", file, file.name || "pasted");
  const response = await request("/api/uploads", { method: "POST", body: form });
  return response.json();
}

/** POST whose answer is a file; hands it to the browser as a download. */
export async function download(path, body) {
  const response = await request(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const blob = await response.blob();
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = fileName(response.headers.get("Content-Disposition")) ?? "framesift";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function fileName(disposition) {
  const encoded = /filename\*=UTF-8''([^;]+)/i.exec(disposition ?? "");
  if (encoded) return decodeURIComponent(encoded[1]);
  return /filename="([^"]+)"/i.exec(disposition ?? "")?.[1] ?? null;
}

export function withValues(path, values) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    if (value !== null && value !== undefined && value !== "") query.append(name, value);
  }
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

/** Address below one video, of the index that it is in. */
export const ofVideo = (id, part, values = {}) =>
  withValues(`/api/videos/${encodeURIComponent(id)}${part ? `/${part}` : ""}`, values);

/** A frame as JPEG; widths are 160, 320, 640 and 1280 pixels. */
export const frameAddress = (id, time_s, width, index) =>
  ofVideo(id, "frame", { t: Math.max(0, time_s).toFixed(3), w: width, index });

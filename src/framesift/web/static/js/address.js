// A search, as it stands in the page's address: back, forward, bookmarks and links all show the same search again.
// Tested by tests/browser/test_web_search.py.

const FLAGS = { rerank: true, fold: true, compare: false };

/** What a search is when the address says nothing. */
export const blank = () => ({
  q: "",
  index: "",
  unit: "moment",
  sources: "frames,subtitles",
  rerank: true,
  fold: true,
  compare: false,
  shown: 0,
  upload: null,
  like: [],
  liked: [],
  disliked: [],
});

const number = (value) => String(Math.round(value * 1000) / 1000);

/** A moment as one word: 3.5-5.2@ID. */
export const writeMoment = ({ video_id, start_s, end_s }) => `${number(start_s)}-${number(end_s)}@${video_id}`;

function readMoment(text) {
  const found = /^([\d.]+)-([\d.]+)@(.+)$/s.exec(text);
  return found ? { video_id: found[3], start_s: Number(found[1]), end_s: Number(found[2]) } : null;
}

const readMoments = (values) => values.map(readMoment).filter((moment) => moment !== null);

export function readAddress(query = location.search) {
  const values = new URLSearchParams(query);
  const state = blank();
  state.q = values.get("q") ?? "";
  state.index = values.get("index") ?? "";
  state.unit = values.get("unit") === "video" ? "video" : "moment";
  state.sources = values.get("sources") ?? state.sources;
  for (const [name, usual] of Object.entries(FLAGS)) {
    state[name] = values.has(name) ? values.get(name) === "1" : usual;
  }
  state.shown = Math.max(0, Math.floor(Number(values.get("shown")) || 0));
  if (values.get("upload")) {
    state.upload = {
      id: values.get("upload"),
      name: values.get("upload_name") ?? "",
      kind: values.get("upload_kind") ?? "image",
    };
  }
  for (const name of ["like", "liked", "disliked"]) state[name] = readMoments(values.getAll(name));
  return state;
}

export function writeAddress(state) {
  const usual = blank();
  const values = new URLSearchParams();
  for (const name of ["q", "index", "unit", "sources"]) {
    if (state[name] && state[name] !== usual[name]) values.set(name, state[name]);
  }
  for (const [name, value] of Object.entries(FLAGS)) {
    if (state[name] !== value) values.set(name, state[name] ? "1" : "0");
  }
  if (state.shown) values.set("shown", String(state.shown));
  if (state.upload) {
    values.set("upload", state.upload.id);
    values.set("upload_name", state.upload.name);
    values.set("upload_kind", state.upload.kind);
  }
  for (const name of ["like", "liked", "disliked"]) {
    for (const moment of state[name]) values.append(name, writeMoment(moment));
  }
  const text = values.toString();
  return text ? `/?${text}` : "/";
}

/** Whether there is anything to look for. */
export const asksSomething = (state) => state.q.trim() !== "" || state.upload !== null || state.like.length > 0;

/** The body of POST /api/search. */
export function searchBody(state, { k, offset = 0, rerank = state.rerank }) {
  return {
    query: state.q,
    index: state.index || undefined,
    k,
    offset,
    unit: state.unit,
    rerank,
    sources: state.sources.split(","),
    group_duplicates: state.fold,
    upload: state.upload ? { id: state.upload.id, weight: 1 } : undefined,
    like: state.like.length ? state.like.map((moment) => ({ ...moment, weight: 1 })) : undefined,
    liked: state.liked.length ? state.liked : undefined,
    disliked: state.disliked.length ? state.disliked : undefined,
  };
}

/** Address of a video's page, which finds the same words again and begins at a time. */
export function videoAddress(result, state) {
  const values = new URLSearchParams();
  if (state.index) values.set("index", state.index);
  if (state.q) values.set("q", state.q);
  values.set("t", number(result.focus_s?.[0] ?? result.start_s));
  return `/video/${encodeURIComponent(result.video_id)}?${values}`;
}

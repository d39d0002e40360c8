// Pictures of frames, in turn. A browser opens six connections to one server; a page full of thumbnails would take them
// all, and a search or a video would wait behind them. So only what is in view is asked for, a few at a time.

const AT_ONCE = 4;
const AGAIN_MS = 1500; // a busy server refuses; once more, then the place stays empty
const NEAR = "250px";

const wanted = new WeakMap(); // element -> { address, show }
const waiting = new Set(); // elements, in the order in which they came into view
let loading = 0;

const watcher = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) waiting[isIntersecting ? "add" : "delete"](target);
    proceed();
  },
  { rootMargin: NEAR },
);

/**
 * Loads the picture at `address` when `place` comes into view and its turn comes, and calls `show(picture)`; without
 * it, `place` is an `<img>` and shows it itself. Returns `place`.
 */
export function inTurn(place, address, show = () => place.setAttribute("src", address)) {
  wanted.set(place, { address, show });
  watcher.observe(place);
  return place;
}

function proceed() {
  for (const place of waiting) {
    if (loading >= AT_ONCE) return;
    waiting.delete(place);
    watcher.unobserve(place);
    if (place.isConnected) load(place, true);
  }
}

function load(place, mayRetry) {
  const { address, show } = wanted.get(place);
  const picture = new Image();
  loading += 1;
  picture.addEventListener("load", () => {
    loading -= 1;
    if (wanted.get(place).address === address) show(picture);
    proceed();
  });
  picture.addEventListener("error", () => {
    loading -= 1;
    if (mayRetry) setTimeout(() => place.isConnected && load(place, false), AGAIN_MS);
    proceed();
  });
  picture.src = address;
}

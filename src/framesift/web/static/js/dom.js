// Making elements. Text always goes in as text: file names, captions and subtitles may hold markup.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element: `element("p", { class: "note", on: { click } }, "text", child)`.
 * Properties that the element has are set as such (hidden, href, disabled), the others as attributes (aria-label).
 * Children that are null or false are left out; strings and numbers become text nodes.
 */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name === "on") for (const [event, heard] of Object.entries(value)) made.addEventListener(event, heard);
    else if (name === "class") made.className = value;
    else if (name === "data") Object.assign(made.dataset, value);
    else if (name === "css") for (const [key, entry] of Object.entries(value)) made.style.setProperty(key, entry);
    else if (name in made && !(name === "list" || name === "form")) made[name] = value;
    else if (value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...present(children));
  return made;
}

const present = (children) => children.flat().filter((child) => child !== null && child !== undefined && child !== false);

/** Replaces what is in an element; children as for `element`. */
export const fill = (place, ...children) => place.replaceChildren(...present(children));

/** An SVG element with attributes. */
export function drawn(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** The triangle that means play; decoration beside a word. */
export function playIcon() {
  return drawn("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, drawn("path", { d: "M1 0 10 5 1 10z" }));
}

/** A bar from 0 to 1 beside a number that says the same. */
export function meter(share) {
  const width = Math.min(1, Math.max(0, share));
  return element("span", { class: "meter", "aria-hidden": "true" }, element("span", { css: { "--share": width } }));
}

/** Options of a `<select>` anew, keeping what is chosen where it still exists. */
export function setOptions(select, options, chosen = select.value) {
  select.replaceChildren(...options.map(([value, label]) => element("option", { value }, label)));
  if (options.some(([value]) => value === chosen)) select.value = chosen;
}

export const byId = (id) => document.getElementById(id);

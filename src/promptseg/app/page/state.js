// What the parts of the page share, and how they hear of changes.

export const UNLABELLED = 255;

export const state = {
  folder: null, // of /api/folder
  status: null, // of /api/status
  photo: null, // the open one, see label.js
  chosen: 0, // class
  tool: "brush",
  size: 12, // of the brush, pixels of the photo
  region: 24, // of snapping, pixels of the photo
  show: "both",
  cursor: null, // of the keyboard: {x, y} in pixels of the photo
};

const hub = new EventTarget();

export const tell = (name) => hub.dispatchEvent(new Event(name));

export const hear = (names, action) => {
  for (const name of names.split(" ")) hub.addEventListener(name, action);
};

export const $ = (id) => document.getElementById(id);

// An element with properties, attributes (with a dash, or `role`) and children.
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined) continue;
    if (name.includes("-") || name === "role") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

export const percent = (share) => `${(100 * share).toFixed(share > 0 && share < 0.0995 ? 1 : 0)} %`;

export const rgb = (color) => `rgb(${color.join(" ")})`;

export function banner(words) {
  $("banner").hidden = !words;
  $("banner").textContent = words ?? "";
}

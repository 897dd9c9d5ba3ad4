// The tools: what a pointer or the keyboard's cursor does to the labels of the open photo.

import { getMap, postForMap, query } from "./api.js";
import { draw, light, marks, pan, repaint, reveal, toPhoto, zoom } from "./canvas.js";
import { commit } from "./label.js";
import * as shapes from "./shapes.js";
import { $, UNLABELLED, banner, hear, make, state, tell } from "./state.js";

const canvas = $("canvas");

export const TOOLS = [
  { name: "brush", key: "b", words: "Brush", help: "paint with a round brush" },
  { name: "eraser", key: "e", words: "Eraser", help: "back to unlabelled" },
  { name: "snap", key: "s", words: "Snap", help: "take the whole region under the pointer" },
  { name: "polygon", key: "g", words: "Polygon", help: "corner by corner; the first corner, double click or G again closes" },
  { name: "box", key: "r", words: "Box", help: "from corner to corner" },
  { name: "fill", key: "f", words: "Fill", help: "all that joins and has the same label" },
  { name: "object", key: "o", words: "Object", help: "click or drag a box: the model finds the object" },
];

let last = null; // the place before, while a tool is down
let touched = null; // the rectangle changed since the tool went down
let panning = null;
let lit = null; // number of the region under the pointer

const sized = { brush: "size", eraser: "size", snap: "region" };

export function choose(tool) {
  if (tool === "polygon" && state.tool === "polygon" && marks.path.length > 2) return closePolygon();
  cancel();
  state.tool = tool;
  tell("tool");
  if (tool === "snap") loadRegions();
}

export function cancel() {
  [marks.path, marks.box, last, lit] = [[], null, null, null];
  light(null);
}

export function resize(by) {
  const name = sized[state.tool];
  if (!name) return;
  const [low, high] = name === "region" ? [4, 200] : [1, 100];
  state[name] = Math.min(high, Math.max(low, Math.round(state[name] * by + Math.sign(by - 1))));
  tell("tool");
  if (name === "region") loadRegions();
}

const change = (rect) => {
  touched = shapes.joined(touched, rect);
  repaint(rect);
};

const inside = ({ x, y }) => x >= 0 && y >= 0 && x < state.photo.width && y < state.photo.height;

const close = (a, b) => Math.hypot(a.x - b.x, a.y - b.y) * (canvas.clientWidth / state.photo.width) < 8;

function down(place) {
  const { photo, tool, chosen } = state;
  if (tool === "polygon") return addCorner(place);
  last = place;
  if (tool === "box" || tool === "object") marks.box = { x0: place.x, y0: place.y, x1: place.x, y1: place.y };
  else if (tool === "fill" && inside(place)) change(shapes.fill(photo, place, chosen));
  else move(place);
}

function move(place) {
  const { photo, tool, chosen, size } = state;
  if (tool === "brush" || tool === "eraser") change(shapes.stroke(photo, last, place, size, tool === "eraser" ? UNLABELLED : chosen));
  else if (tool === "snap") takeRegion(place);
  else if (marks.box) [marks.box.x1, marks.box.y1] = [place.x, place.y];
  last = place;
  draw();
}

async function up() {
  const { tool, photo, chosen } = state;
  const area = marks.box;
  [marks.box, last] = [null, null];
  if (tool === "box" && area) change(shapes.box(photo, { x: area.x0, y: area.y0 }, { x: area.x1, y: area.y1 }, chosen));
  if (tool === "object" && area) await findObject(area);
  if (touched) commit();
  touched = null;
}

function addCorner(place) {
  const path = marks.path;
  if (path.length > 2 && close(place, path[0])) return closePolygon();
  path.push(place);
  draw();
}

function closePolygon() {
  if (marks.path.length > 2) {
    change(shapes.polygon(state.photo, marks.path, state.chosen));
    commit();
    touched = null;
  }
  cancel();
}

// Regions

async function loadRegions() {
  const { photo, region } = state;
  if (!photo?.labels || photo.regionsSize === region) return;
  photo.regionsSize = region;
  try {
    const { values } = await getMap(query("/api/regions", { photo: photo.id, size: region }), Uint32Array);
    if (state.photo !== photo || photo.regionsSize !== region) return;
    [photo.regions, photo.rects] = [values, shapes.regionRects(values, photo.width)];
  } catch (error) {
    photo.regionsSize = null;
    banner(error.message);
  }
}

function regionAt(place) {
  const { photo } = state;
  if (!photo.regions || !inside(place)) return null;
  const id = photo.regions[Math.floor(place.y) * photo.width + Math.floor(place.x)];
  return { id, rect: photo.rects[id] };
}

function takeRegion(place) {
  const found = regionAt(place);
  if (found) change(shapes.region(state.photo, state.photo.regions, found, state.chosen));
}

function hover(place) {
  const found = state.tool === "snap" ? regionAt(place) : null;
  if ((found?.id ?? null) === lit) return;
  lit = found?.id ?? null;
  light(found);
}

// The model's own answer to a click or a box.
async function findObject(area) {
  const { photo, chosen } = state;
  const [x0, x1] = [area.x0, area.x1].sort((a, b) => a - b).map((x) => Math.min(photo.width, Math.max(0, x)));
  const [y0, y1] = [area.y0, area.y1].sort((a, b) => a - b).map((y) => Math.min(photo.height, Math.max(0, y)));
  const body = x1 - x0 < 3 || y1 - y0 < 3 ? { points: [[x0, y0]] } : { boxes: [[x0, y0, x1, y1]] };
  try {
    const { values } = await postForMap(query("/api/object", { photo: photo.id }), body);
    if (state.photo === photo) change(shapes.masked(photo, values, chosen));
  } catch (error) {
    banner(error.message);
  }
}

// The pointer

canvas.addEventListener("pointerdown", (event) => {
  if (!state.photo?.labels) return;
  canvas.focus();
  canvas.setPointerCapture(event.pointerId);
  state.cursor = null;
  if (event.button !== 0 || event.shiftKey) panning = { x: event.clientX, y: event.clientY };
  else if (state.folder.classes.length) down(toPhoto(event));
});

canvas.addEventListener("pointermove", (event) => {
  if (!state.photo?.labels) return;
  const place = toPhoto(event);
  if (panning) {
    pan(event.clientX - panning.x, event.clientY - panning.y);
    panning = { x: event.clientX, y: event.clientY };
  } else if (last) {
    for (const between of event.getCoalescedEvents?.() ?? []) move(toPhoto(between));
    move(place);
  }
  hover(place);
  marks.brush = state.tool === "brush" || state.tool === "eraser" ? place : null;
  describe(place);
  draw();
});

canvas.addEventListener("pointerup", () => {
  if (panning) panning = null;
  else if (last) up();
});
canvas.addEventListener("pointerleave", () => {
  marks.brush = null;
  light((lit = null));
});
canvas.addEventListener("dblclick", closePolygon);
canvas.addEventListener("contextmenu", (event) => event.preventDefault());
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  const frame = canvas.getBoundingClientRect();
  zoom(Math.exp(-event.deltaY / 400), { x: event.clientX - frame.left, y: event.clientY - frame.top });
}, { passive: false });

// The keyboard's cursor: arrows move it, space is the tool's button.

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

canvas.addEventListener("keydown", (event) => {
  const { photo } = state;
  if (!photo?.labels || event.ctrlKey || event.metaKey) return;
  if (event.key in ARROWS) {
    const [dx, dy] = ARROWS[event.key];
    const step = event.shiftKey ? 20 : 4;
    const from = state.cursor ?? { x: photo.width / 2, y: photo.height / 2 };
    const limit = (value, size) => Math.min(size - 0.5, Math.max(0.5, value));
    state.cursor = { x: limit(from.x + dx * step, photo.width), y: limit(from.y + dy * step, photo.height) };
    if (last) move(state.cursor);
    hover(state.cursor);
    marks.brush = state.tool === "brush" || state.tool === "eraser" ? state.cursor : null;
    describe(state.cursor);
    reveal(state.cursor);
  } else if (event.key === " ") {
    state.cursor ??= { x: photo.width / 2, y: photo.height / 2 };
    if (!event.repeat && !last && state.folder.classes.length) press(state.cursor);
  } else if (event.key === "Escape") cancel();
  else return;
  event.preventDefault();
  draw();
});

// Box and object need two places: the second press ends them. The others end when the key goes up.
const twoPresses = () => state.tool === "box" || state.tool === "object";

function press(place) {
  down(place);
}

canvas.addEventListener("keyup", (event) => {
  if (event.key !== " " || !last) return;
  if (twoPresses() && close(last, { x: marks.box.x0, y: marks.box.y0 }) && state.tool === "box") return;
  up();
});

// Words about the place under the pointer, for eyes and for screen readers.
function describe(place) {
  const { photo, folder } = state;
  if (!inside(place)) return ($("place").textContent = "");
  const at = Math.floor(place.y) * photo.width + Math.floor(place.x);
  const name = (map) => (map && folder.classes[map[at]] ? folder.classes[map[at]].name : null);
  const parts = [name(photo.labels) ?? "unlabelled", name(photo.proposal) && `proposal: ${name(photo.proposal)}`];
  $("place").textContent = `${Math.floor(place.x)}, ${Math.floor(place.y)} · ${parts.filter(Boolean).join(" · ")}`;
}

// Buttons

for (const { name, key, words, help } of TOOLS) {
  const button = make("button", { title: `${help} (${key.toUpperCase()})`, id: `tool-${name}` }, words, " ", make("kbd", {}, key.toUpperCase()));
  button.addEventListener("click", () => choose(name));
  $("tools").append(button);
}

$("size").addEventListener("input", () => {
  state[sized[state.tool] ?? "size"] = Number($("size").value);
  tell("tool");
});
$("size").addEventListener("change", loadRegions);

hear("tool", () => {
  for (const { name } of TOOLS) $(`tool-${name}`).setAttribute("aria-pressed", String(state.tool === name));
  const name = sized[state.tool];
  $("size").disabled = !name;
  $("size-name").textContent = state.tool === "snap" ? "Region" : "Size";
  [$("size").min, $("size").max] = state.tool === "snap" ? [4, 100] : [1, 100];
  $("size").value = $("size-value").textContent = state[name ?? "size"];
});
hear("status", () => {
  $("tool-object").hidden = !state.status.object_prompts.includes("points");
});
hear("photo", () => {
  cancel();
  marks.brush = null;
  if (state.tool === "snap") loadRegions();
});

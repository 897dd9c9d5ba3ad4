// The photo on the screen: zoom and pan, the colours of labels and proposal over it, and marks of the tools.

import { $, UNLABELLED, hear, state } from "./state.js";

const LABEL_ALPHA = 150;
const PROPOSAL_ALPHA = 80;
const canvas = $("canvas");
const context = canvas.getContext("2d");
const paint = document.createElement("canvas"); // the colours, a pixel for each of the photo
const glow = document.createElement("canvas"); // the region under the pointer
let view = { scale: 1, x: 0, y: 0 }; // screen = photo * scale + (x, y)
let drawn = false;

export const marks = { path: [], box: null, brush: null }; // in pixels of the photo

export function toPhoto(event) {
  const frame = canvas.getBoundingClientRect();
  return { x: (event.clientX - frame.left - view.x) / view.scale, y: (event.clientY - frame.top - view.y) / view.scale };
}

export function fit() {
  const { photo } = state;
  if (!photo) return;
  const { clientWidth: width, clientHeight: height } = canvas;
  const scale = Math.min(width / photo.width, height / photo.height) * 0.97;
  view = { scale, x: (width - photo.width * scale) / 2, y: (height - photo.height * scale) / 2 };
  draw();
}

// Zoom about a point of the screen; by default the middle.
export function zoom(factor, at = { x: canvas.clientWidth / 2, y: canvas.clientHeight / 2 }) {
  const scale = Math.min(40, Math.max(0.02, view.scale * factor));
  const ratio = scale / view.scale;
  view = { scale, x: at.x - (at.x - view.x) * ratio, y: at.y - (at.y - view.y) * ratio };
  draw();
}

export function pan(dx, dy) {
  view.x += dx;
  view.y += dy;
  draw();
}

// Bring a place of the photo into sight.
export function reveal({ x, y }) {
  const margin = 24;
  const at = { x: x * view.scale + view.x, y: y * view.scale + view.y };
  const into = (value, size) => Math.max(margin - value, 0) + Math.min(size - margin - value, 0);
  pan(into(at.x, canvas.clientWidth), into(at.y, canvas.clientHeight));
}

// Colour pixels of a rectangle again; all of them by default.
export function repaint(rect = null) {
  const { photo, show } = state;
  if (!photo) return;
  if (paint.width !== photo.width || paint.height !== photo.height || glow.width !== photo.width) {
    for (const layer of [paint, glow]) [layer.width, layer.height] = [photo.width, photo.height];
  }
  const { x0, y0, x1, y1 } = rect ?? { x0: 0, y0: 0, x1: photo.width, y1: photo.height };
  if (x1 <= x0 || y1 <= y0) return;
  const colors = state.folder.classes.map((c) => c.color);
  const labels = show === "both" || show === "labels" ? photo.labels : null;
  const proposal = show === "zero-shot" ? photo.zeroShot : show === "both" || show === "learned" ? photo.proposal : null;
  const faint = show === "both" ? PROPOSAL_ALPHA : LABEL_ALPHA;
  const image = new ImageData(x1 - x0, y1 - y0);
  for (let y = y0, to = 0; y < y1; y++) {
    for (let x = x0, from = y * photo.width + x0; x < x1; x++, from++, to += 4) {
      let id = labels ? labels[from] : UNLABELLED;
      let alpha = LABEL_ALPHA;
      if (id === UNLABELLED && proposal) [id, alpha] = [proposal[from], faint];
      const color = colors[id];
      if (color) [image.data[to], image.data[to + 1], image.data[to + 2], image.data[to + 3]] = [...color, alpha];
    }
  }
  paint.getContext("2d").putImageData(image, x0, y0);
  draw();
}

// Light up the pixels of one region; null clears.
export function light(region) {
  const { photo } = state;
  const layer = glow.getContext("2d");
  layer.clearRect(0, 0, glow.width, glow.height);
  if (photo?.regions && region !== null) {
    const { x0, y0, x1, y1 } = region.rect;
    const image = new ImageData(x1 - x0, y1 - y0);
    for (let y = y0, to = 3; y < y1; y++) {
      for (let x = x0; x < x1; x++, to += 4) {
        if (photo.regions[y * photo.width + x] !== region.id) continue;
        image.data.fill(255, to - 3, to);
        image.data[to] = 110;
      }
    }
    layer.putImageData(image, x0, y0);
  }
  draw();
}

export function draw() {
  if (drawn) return;
  drawn = true;
  requestAnimationFrame(() => {
    drawn = false;
    render();
  });
}

function render() {
  const ratio = devicePixelRatio;
  const [width, height] = [canvas.clientWidth * ratio, canvas.clientHeight * ratio].map(Math.round);
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, width, height);
  const { photo } = state;
  if (!photo?.picture) return;
  context.setTransform(view.scale * ratio, 0, 0, view.scale * ratio, view.x * ratio, view.y * ratio);
  context.imageSmoothingEnabled = view.scale < 2;
  context.drawImage(photo.picture, 0, 0, photo.width, photo.height);
  context.imageSmoothingEnabled = false;
  context.drawImage(paint, 0, 0);
  context.drawImage(glow, 0, 0);
  drawMarks();
}

function drawMarks() {
  const { path, box, brush } = marks;
  if (path.length) twice(() => path.forEach(({ x, y }, i) => (i ? context.lineTo(x, y) : context.moveTo(x, y))));
  if (box) twice(() => context.rect(Math.min(box.x0, box.x1), Math.min(box.y0, box.y1), Math.abs(box.x1 - box.x0), Math.abs(box.y1 - box.y0)));
  if (brush) twice(() => context.arc(brush.x, brush.y, state.size / 2, 0, 7));
  if (state.cursor) {
    const { x, y } = state.cursor;
    const reach = 12 / view.scale;
    twice(() => {
      context.moveTo(x - reach, y);
      context.lineTo(x + reach, y);
      context.moveTo(x, y - reach);
      context.lineTo(x, y + reach);
    });
  }
}

// A line that shows on any ground: dark below, light above.
function twice(trace) {
  context.beginPath();
  trace();
  for (const [color, width] of [["#000b", 3.5], ["#fff", 1.5]]) {
    context.strokeStyle = color;
    context.lineWidth = width / view.scale;
    context.stroke();
  }
}

new ResizeObserver(() => fit()).observe(canvas);
hear("classes show", () => repaint());

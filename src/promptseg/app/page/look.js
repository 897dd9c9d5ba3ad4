// All photos at once: overlays as a grid, shares of the classes, and what changed.

import { getJson, query } from "./api.js";
import { open } from "./label.js";
import { $, banner, hear, make, percent, rgb, state, tell } from "./state.js";

let looked = null; // of /api/look
let knowledge = -1;

export async function refresh() {
  if (document.body.dataset.view !== "look" || !state.status) return;
  knowledge = state.status.knowledge;
  try {
    looked = await getJson("/api/look");
    show();
  } catch (error) {
    banner(error.message);
  }
}

function show() {
  const { classes } = state.folder;
  const source = $("look-source").value;
  const only = $("look-class").value === "" ? null : Number($("look-class").value);
  const photos = sorted(looked.photos, $("look-order").value, only).filter((p) => only === null || p.shares[only] > 0);
  $("look-count").textContent = `${photos.length} of ${state.folder.photos.length} photos`;
  $("shares").replaceChildren(
    ...classes.map((entry, i) => {
      const part = make("span", { title: `${entry.name}: ${percent(looked.shares[i])} of all photos` }, `${entry.name} ${percent(looked.shares[i])}`);
      part.style.flexGrow = looked.shares[i];
      part.style.flexBasis = 0;
      part.style.background = rgb(entry.color);
      part.style.color = light(entry.color) ? "#000" : "#fff";
      return part;
    }),
  );
  $("grid").className = source === "both" ? "grid pairs" : "grid";
  $("grid").replaceChildren(...photos.map((photo) => tile(photo, source, only)));
}

const light = ([r, g, b]) => 0.3 * r + 0.59 * g + 0.11 * b > 140;

function sorted(photos, order, only) {
  const value = {
    name: () => 0,
    share: (p) => -(only === null ? Math.max(...p.shares) : p.shares[only]),
    change: (p) => -p.change,
    sureness: (p) => p.sureness,
  }[order];
  return [...photos].sort((a, b) => value(a) - value(b));
}

function picture(photo, source, only, caption) {
  const values = { photo: photo.id, source, at: state.status.knowledge, colors: state.folder.classes_version };
  const path = query("/api/overlay", only === null ? values : { ...values, only });
  const image = make("img", { src: path, alt: `${photo.id}, ${source}`, loading: "lazy", decoding: "async" });
  return make("figure", {}, image, caption ? make("figcaption", {}, caption) : null);
}

function tile(photo, source, only) {
  const pictures = source === "both"
    ? [picture(photo, "zero-shot", only, "zero-shot"), picture(photo, "learned", only, "learned")]
    : [picture(photo, source, only)];
  const words = only === null ? `sure ${photo.sureness.toFixed(2)}` : percent(photo.shares[only]);
  const changed = photo.change > 0 ? ` · changed ${percent(photo.change)}` : "";
  const button = make("button", {}, make("div", { className: "pictures" }, ...pictures),
    make("div", { className: "line" }, make("span", {}, photo.id), make("span", { className: "muted" }, words + changed)));
  button.addEventListener("click", () => {
    tell("to-label");
    open(photo.id);
  });
  return make("li", {}, button);
}

for (const id of ["look-source", "look-class", "look-order"]) $(id).addEventListener("change", show);

hear("classes", () => {
  const chosen = $("look-class").value;
  const options = state.folder.classes.map((c, i) => make("option", { value: i }, c.name));
  $("look-class").replaceChildren(make("option", { value: "" }, "all"), ...options);
  $("look-class").value = chosen;
  refresh();
});
hear("status", () => {
  if (state.status.knowledge !== knowledge || looked?.photos.length !== state.status.photos.length) refresh();
});

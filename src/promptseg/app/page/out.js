// What leaves the page: prompts, label maps and the forms of other tools, with commands ready to copy.

import { send } from "./api.js";
import { $, make, state } from "./state.js";

const FORMATS = [
  ["prompts", "Prompts", "what was learned, for promptseg predict and evaluate"],
  ["folder", "Label maps", "PNG, values are class ids, as promptseg fit reads them"],
  ["coco", "COCO JSON", "an annotation for each connected part: polygons, run lengths where there are holes"],
  ["yolo", "YOLO segmentation", "a text file of polygons beside each photo, and data.yaml"],
  ["labelme", "LabelMe", "a JSON file of polygons beside each photo"],
  ["voc", "Pascal VOC", "palette PNGs of classes and of objects"],
  ["csv", "Areas as CSV", "per class and per object, in pixels and shares"],
];

FORMATS.forEach(([value, words, about], i) => {
  const input = make("input", { type: "radio", name: "to", value, checked: i === 0 });
  $("formats").append(make("label", {}, input, ` ${words}`, make("small", {}, about)));
});

export function command(line) {
  const copy = make("button", { type: "button" }, "Copy");
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(line);
    copy.textContent = "Copied";
  });
  return make("div", { className: "command" }, make("code", {}, line), copy);
}

const chosen = () => Object.fromEntries(new FormData($("export")));

$("export").addEventListener("change", () => {
  $("which").hidden = chosen().to === "prompts";
});
$("which").hidden = true;

$("export").addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = $("export").querySelector("button");
  button.disabled = true;
  try {
    const { path, words, commands } = await send("POST", "/api/export", chosen());
    const lines = commands.map(command);
    $("exported").prepend(make("div", { className: "result" }, make("p", {}, words), make("p", { className: "muted" }, path), ...lines));
  } catch (error) {
    $("exported").prepend(make("p", { className: "error" }, error.message));
  }
  button.disabled = !state.folder;
});

// Beside the photo: the list of photos, the classes, and the score.

import { query, send } from "./api.js";
import { open } from "./label.js";
import { $, banner, hear, make, percent, rgb, state, tell } from "./state.js";

const STATES = {
  untouched: "untouched",
  proposed: "proposed",
  started: "started",
  confirmed: "confirmed",
  corrected: "corrected, confirmed",
  broken: "cannot be used",
};

// Photos

// The photo has the keys from here on: with the button focused, Enter would open it again instead of confirming.
function openToWork(id) {
  $("canvas").focus();
  open(id);
}

const rows = new Map(); // by id: {item, button, state element}

function photoRow(photo) {
  const words = make("small", { className: "state" });
  const picture = photo.fault
    ? make("div", { className: "broken" }, "!")
    : make("img", { src: query("/api/thumbnail", { photo: photo.id }), alt: "", loading: "lazy", decoding: "async" });
  const button = make("button", {}, picture, make("span", {}, photo.id, words));
  button.addEventListener("click", () => openToWork(photo.id));
  if (!photo.fault) picture.addEventListener("error", () => picture.replaceWith(make("div", { className: "broken" }, "!")));
  return { item: make("li", {}, button), button, words, fault: photo.fault };
}

function showPhotos() {
  const { photos } = state.status;
  const same = photos.length === rows.size && photos.every((p) => rows.get(p.id) && !rows.get(p.id).fault === !p.fault);
  if (!same) {
    rows.clear();
    for (const photo of photos) rows.set(photo.id, photoRow(photo));
    $("photos").replaceChildren(...photos.map((p) => rows.get(p.id).item));
  }
  for (const photo of photos) {
    const { button, words } = rows.get(photo.id);
    const name = photo.fault ? "broken" : photo.state;
    words.className = `state ${name}`;
    words.textContent = photo.fault ?? STATES[name];
    if (photo.id === state.photo?.id) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
  const done = photos.filter((p) => p.state === "confirmed" || p.state === "corrected").length;
  $("counts").textContent = `${done} of ${photos.length} confirmed`;
}

function showNext() {
  const offers = state.status.next.slice(0, 3).map(({ id, why }) => {
    const button = make("button", {}, id, make("small", {}, why));
    button.addEventListener("click", () => openToWork(id));
    return make("li", {}, button);
  });
  $("next").replaceChildren(...(offers.length ? offers : [make("li", { className: "muted" }, "Once the photos were looked at, the most useful ones stand here.")]));
}

hear("status photo", () => {
  if (!state.status) return;
  showPhotos();
  showNext();
});
hear("photo", () => rows.get(state.photo.id)?.item.scrollIntoView({ block: "nearest" }));

$("rescan").addEventListener("click", async () => {
  state.folder = await (await fetch("/api/folder?rescan=true")).json();
  tell("classes");
});

// Classes

export const keyOf = (place) => (place < 9 ? String(place + 1) : place === 9 ? "0" : null);

export function chooseClass(place) {
  if (place < 0 || place >= state.folder.classes.length) return;
  state.chosen = place;
  tell("chosen");
}

async function writeClasses(classes) {
  try {
    state.folder = await send("PUT", "/api/classes", { classes }, state.folder.classes_version);
    banner(null);
    tell("classes");
    return null;
  } catch (error) {
    if (error.status === 412) state.folder = await (await fetch("/api/folder")).json();
    tell("classes");
    return error.message;
  }
}

function classRow(entry, place) {
  const key = keyOf(place);
  const hex = `#${entry.color.map((level) => level.toString(16).padStart(2, "0")).join("")}`;
  const color = make("input", { type: "color", value: hex, "aria-label": `Colour of ${entry.name}` });
  color.addEventListener("change", async () => {
    const levels = [1, 3, 5].map((i) => parseInt(color.value.slice(i, i + 2), 16));
    banner(await writeClasses(state.folder.classes.map((c, i) => (i === place ? { ...c, color: levels } : c))));
  });
  const pick = make("button", { className: "pick" }, make("span", {}, entry.name), key && make("kbd", {}, key));
  pick.addEventListener("click", () => chooseClass(place));
  const rename = make("button", { className: "rename", title: "Rename", "aria-label": `Rename ${entry.name}` }, "✎");
  rename.addEventListener("click", () => nameClasses(place));
  return make("li", {}, color, pick, rename);
}

hear("classes", () => {
  $("classes").replaceChildren(...state.folder.classes.map(classRow));
  const unknown = state.folder.unknown_words;
  $("unknown").hidden = !unknown.length;
  $("unknown").textContent = `${state.folder.model} never learned the word${unknown.length > 1 ? "s" : ""} ${unknown.join(", ")}: without labels its answer there is a guess.`;
  tell("chosen");
});
hear("chosen", () => {
  [...$("classes").querySelectorAll(".pick")].forEach((pick, i) => pick.setAttribute("aria-pressed", String(i === state.chosen)));
});

// Name the first classes, add some, or rename the one at a place.
export function nameClasses(place = null) {
  const { classes, offered_class: rest } = state.folder;
  const names = $("naming-names");
  const first = !classes.length;
  $("naming-title").textContent = place !== null ? `Rename ${classes[place].name}` : first ? "Name your classes" : "Add classes";
  $("naming-words").hidden = place !== null;
  $("naming-rest").hidden = place !== null || classes.some((c) => c.name === rest);
  $("naming-rest").querySelector("input").checked = first;
  $("naming-background").textContent = rest;
  $("naming-cancel").hidden = first;
  names.value = place !== null ? classes[place].name : "";
  names.placeholder = place !== null ? "" : "road, sky, car";
  $("naming-error").textContent = "";
  naming = place;
  $("naming").showModal();
  names.focus();
}

let naming = null;

function namedClasses() {
  const { classes, offered_class: rest } = state.folder;
  const text = $("naming-names").value;
  if (naming !== null) return classes.map((c, i) => (i === naming ? { ...c, name: text.trim() } : c));
  const names = text.split(",").map((name) => name.trim()).filter(Boolean);
  const withRest = !$("naming-rest").hidden && $("naming-rest").querySelector("input").checked;
  return [...classes, ...names.map((name) => ({ name })), ...(withRest ? [{ name: rest }] : [])];
}

$("naming").addEventListener("submit", async (event) => {
  event.preventDefault();
  const problem = await writeClasses(namedClasses());
  $("naming-error").textContent = problem ?? "";
  if (!problem) $("naming").close();
});
$("naming-cancel").addEventListener("click", () => $("naming").close());
$("naming").addEventListener("cancel", (event) => {
  if (!state.folder.classes.length) event.preventDefault();
});
$("add").addEventListener("click", () => nameClasses());

// Score

function spark(history) {
  const place = (value, i) => `${history.length > 1 ? (i / (history.length - 1)) * 196 + 2 : 100},${46 - value * 44}`;
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 200 48");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `Score photo by photo: ${history.map(percent).join(", ")}`);
  const line = document.createElementNS(svg.namespaceURI, "polyline");
  line.setAttribute("points", history.map(place).join(" "));
  for (const [name, value] of [["fill", "none"], ["stroke", "#4cc2a5"], ["stroke-width", "2"]]) line.setAttribute(name, value);
  svg.append(line);
  history.forEach((value, i) => {
    const dot = document.createElementNS(svg.namespaceURI, "circle");
    const [x, y] = place(value, i).split(",");
    for (const [name, number] of [["cx", x], ["cy", y], ["r", 3], ["fill", "#4cc2a5"]]) dot.setAttribute(name, number);
    svg.append(dot);
  });
  return svg;
}

function bars(score) {
  const parts = state.folder.classes.flatMap((entry, i) => {
    const [learned, zero] = [score.classes[i], score.zero_shot_classes[i]];
    const fill = make("span", { className: "fill" });
    fill.style.width = percent(learned ?? 0).replace(" ", "");
    fill.style.background = rgb(entry.color);
    const mark = make("span", { className: "mark", title: `zero-shot ${percent(zero ?? 0)}` });
    mark.style.left = percent(zero ?? 0).replace(" ", "");
    const track = make("span", { className: "track" }, fill, mark);
    return [make("span", {}, entry.name), track, make("span", {}, learned === null || learned === undefined ? "–" : percent(learned))];
  });
  return make("div", { className: "bars" }, ...parts);
}

hear("status classes", () => {
  const score = state.status?.score;
  if (!score) {
    const words = "Every photo is predicted before its labels are learned from. Confirm two, and that prediction's mark stands here.";
    $("score").replaceChildren(make("p", { className: "note" }, words));
    return;
  }
  const count = score.photos === 1 ? "the last photo" : `the last ${score.photos} photos`;
  $("score").replaceChildren(
    make("p", { className: "big" }, percent(score.learned)),
    make("p", {}, `mean IoU on ${count}, before their labels were seen`),
    make("p", { className: score.words.startsWith("no") ? "flat" : "against" }, `zero-shot: ${percent(score.zero_shot)} · ${score.words}`),
    spark(score.history),
    bars(score),
    make("p", { className: "note" }, "White marks: zero-shot. Where you accept a proposal as it is, the score is only as strict as you are."),
  );
});

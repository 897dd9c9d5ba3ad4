// The page: start, news from the server, views and keys.

import { getJson, query, send } from "./api.js";
import { fit, zoom } from "./canvas.js";
import { confirm, goOn, open, openBeside, step, takeProposal, unconfirm } from "./label.js";
import { refresh } from "./look.js";
import "./out.js";
import { chooseClass, nameClasses } from "./side.js";
import { $, banner, hear, make, state, tell } from "./state.js";
import { TOOLS, cancel, choose, resize } from "./tools.js";

async function listen() {
  let version = -1;
  for (;;) {
    try {
      state.status = await getJson(query("/api/status", { after: version }));
      if (version === null) banner(null);
      version = state.status.version;
      await heard();
    } catch (error) {
      banner(error.message);
      version = -1;
      await new Promise((done) => setTimeout(done, 1000));
    }
  }
}

async function heard() {
  const { status } = state;
  $("words").textContent = status.words;
  $("status").classList.toggle("busy", status.busy);
  $("auto").checked = status.auto;
  if (status.problem) banner(status.problem);
  if (status.classes_version !== state.folder.classes_version) {
    state.folder = await getJson("/api/folder");
    tell("classes");
  }
  tell("status");
}

export function view(name) {
  document.body.dataset.view = name;
  for (const button of document.querySelectorAll("nav button")) {
    if (button.dataset.view === name) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
  }
  for (const section of document.querySelectorAll(".view")) section.hidden = section.id !== name;
  if (name === "look") refresh();
  if (name === "label") fit();
}

for (const button of document.querySelectorAll("nav button")) button.addEventListener("click", () => view(button.dataset.view));
hear("to-label", () => view("label"));

// Keys

const SHOWN = ["both", "labels", "learned", "zero-shot", "photo"];

function showNext() {
  $("show").value = SHOWN[(SHOWN.indexOf(state.show) + 1) % SHOWN.length];
  $("show").dispatchEvent(new Event("change"));
}

const learn = () => send("POST", "/api/learn", { now: true }).catch((error) => banner(error.message));

async function learnByItself(wanted) {
  try {
    state.status.auto = (await send("POST", "/api/learn", { auto: wanted })).auto;
  } catch (error) {
    banner(error.message);
  }
  $("auto").checked = state.status.auto;
}

const KEYS = {
  "Enter": [() => confirm(), "confirm the labels and go on"],
  "Shift+Enter": [() => confirm(true), "take the proposal, confirm and go on"],
  "p": [takeProposal, "fill what is not labelled with the proposal"],
  "l": [learn, "learn now"],
  "L": [() => $("auto").click(), "learn by itself, or on L alone"],
  "u": [unconfirm, "take the confirmation back"],
  "n": [() => goOn(state.photo?.id), "go on without confirming"],
  "PageUp": [() => openBeside(-1), "photo before in the list"],
  "PageDown": [() => openBeside(1), "photo after in the list"],
  "v": [showNext, "what lies over the photo"],
  "[": [() => resize(0.8), "smaller brush or regions"],
  "]": [() => resize(1.25), "larger brush or regions"],
  "+": [() => zoom(1.25), "zoom in (wheel)"],
  "-": [() => zoom(0.8), "zoom out"],
  "Home": [fit, "whole photo"],
  "Ctrl+z": [() => step("undo"), "undo"],
  "Ctrl+Shift+Z": [() => step("redo"), "redo"],
  "Ctrl+y": [() => step("redo"), "redo"],
  "Escape": [cancel, "drop a polygon or box"],
  "?": [() => $("keys").showModal(), "this list"],
  "a": [() => nameClasses(), "add classes"],
};
for (const { name, key, words, help } of TOOLS) KEYS[key] = [() => choose(name), `${words}: ${help}`];

const named = (event) => {
  const shift = event.shiftKey && (event.key.length > 1 || event.ctrlKey);
  return `${event.ctrlKey || event.metaKey ? "Ctrl+" : ""}${shift ? "Shift+" : ""}${event.key}`;
};

addEventListener("keydown", (event) => {
  const { target } = event;
  if (document.querySelector("dialog[open]") || target.matches("input:not([type=range], [type=color], [type=checkbox]), select, textarea")) return;
  if (document.body.dataset.view !== "label" && event.key !== "?") return;
  if (target.matches("button, [type=checkbox]") && (event.key === "Enter" || event.key === " ")) return;
  if (target.matches("input") && ["PageUp", "PageDown", "Home"].includes(event.key)) return;
  const action = KEYS[named(event)] ?? (event.key === "=" ? KEYS["+"] : null);
  if (action) action[0]();
  else if (/^[0-9]$/.test(event.key) && !event.ctrlKey && !event.altKey) chooseClass((Number(event.key) + 9) % 10);
  else return;
  event.preventDefault();
});

const shown = (key) => (/^[A-Z]$/.test(key) ? `Shift ${key}` : key.length === 1 ? key.toUpperCase() : key.replace("+", " "));
const list = [["1 … 9, 0", "choose a class"], ["arrows, space", "move the cursor over the photo and use the tool (Shift: larger steps)"],
  ["Shift + drag", "move the photo; so does the right button"], ...Object.entries(KEYS).map(([key, [, words]]) => [shown(key), words])];
for (const [key, words] of list) $("key-list").append(make("dt", {}, make("kbd", {}, key)), make("dd", {}, words));
$("help").addEventListener("click", () => $("keys").showModal());
$("learn").addEventListener("click", learn);
$("auto").addEventListener("change", () => learnByItself($("auto").checked));

// Start

try {
  state.folder = await getJson("/api/folder");
  $("folder").textContent = state.folder.folder;
  $("folder").title = state.folder.path;
  document.title = `${state.folder.folder} · promptseg`;
  state.status = await getJson("/api/status");
  tell("classes");
  tell("tool");
  await heard();
  listen();
  if (!state.folder.classes.length) nameClasses();
  const asked = location.hash.slice(1);
  const first = state.folder.photos.find((p) => encodeURIComponent(p.id) === asked) ?? state.folder.photos.find((p) => !p.fault);
  if (first) await open(first.id);
} catch (error) {
  banner(error.message);
}
hear("photo", () => history.replaceState(null, "", `#${encodeURIComponent(state.photo.id)}`));

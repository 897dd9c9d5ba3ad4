// The open photo: opening, saving, undo, the proposal, confirming and going on.

import { ApiError, getMap, getPicture, putLabels, query, send } from "./api.js";
import { draw, fit, repaint } from "./canvas.js";
import { $, UNLABELLED, banner, hear, state, tell } from "./state.js";

const RETRY = 2000;
let saving = Promise.resolve();
let unsaved = false; // changes that the server does not have
let poured = false; // a proposal is among them
let refused = false; // the server will never take them as they are

export async function open(id) {
  await settled();
  if (unsaved && !refused) return; // they exist nowhere else
  [unsaved, poured, refused] = [false, false, false];
  const photo = { id, width: 0, height: 0, labels: null, proposal: null, zeroShot: null, regions: null, knowledge: 0 };
  state.photo = photo;
  tell("photo");
  try {
    const [picture, map] = await Promise.all([getPicture(query("/api/photo", { photo: id })), loadLabels(photo)]);
    if (state.photo !== photo) return;
    photo.picture = picture;
    fault(null);
    adopt(photo, map);
    fit();
    tell("opened");
    loadProposal();
  } catch (error) {
    if (state.photo === photo) fault(error.message);
  }
}

const loadLabels = (photo) => getMap(query("/api/labels", { photo: photo.id }));

const version = ({ headers }) => headers.get("ETag").replaceAll('"', "");

function adopt(photo, { values, headers }) {
  [photo.width, photo.height] = [headers.get("X-Width"), headers.get("X-Height")].map(Number);
  photo.labels = values;
  photo.version = version({ headers });
  undoable(headers.get("X-Undo") === "1", headers.get("X-Redo") === "1");
  repaint();
}

function undoable(undo, redo) {
  [$("undo").disabled, $("redo").disabled] = [!undo, !redo];
}

function fault(words) {
  $("fault").hidden = !words;
  $("fault").textContent = words ?? "";
  if (words) state.photo.labels = null;
  draw();
}

// What the model says of the open photo, and zero-shot if that is shown.
export async function loadProposal() {
  const { photo, status } = state;
  if (!photo?.labels || !status?.knowledge) return;
  const old = photo.knowledge !== status.knowledge;
  try {
    if (old) {
      photo.knowledge = status.knowledge;
      photo.proposal = (await prediction(photo, "learned")).values;
    }
    if (state.show === "zero-shot" && (old || !photo.zeroShot)) photo.zeroShot = (await prediction(photo, "zero-shot")).values;
  } catch (error) {
    photo.knowledge = 0;
    if (error.status !== 422) banner(error.message);
  }
  if (state.photo === photo) {
    repaint();
    tell("proposal");
  }
}

const prediction = (photo, source) => getMap(query("/api/prediction", { photo: photo.id, source }));

// Saving: one save at a time; what changes meanwhile goes with the next.

export function commit(isPoured = false) {
  [unsaved, refused] = [true, false];
  poured ||= isPoured;
  $("saved").textContent = "saving …";
  saving = saving.then(save);
  return saving;
}

async function save() {
  const { photo } = state;
  if (!unsaved || !photo?.labels) return;
  const withProposal = poured;
  [unsaved, poured] = [false, false];
  try {
    const path = query("/api/labels", { photo: photo.id, poured: withProposal });
    const answer = await putLabels(path, photo.labels, photo.version);
    saved(photo, answer);
  } catch (error) {
    [unsaved, poured] = [true, poured || withProposal];
    if (error.status === 412) return resolveConflict(photo);
    notSaved(error);
  }
}

function saved(photo, answer) {
  photo.version = answer.version;
  $("saved").textContent = "saved";
  banner(null);
  undoable(answer.can_undo, answer.can_redo);
}

function notSaved(error) {
  $("saved").textContent = "not saved";
  banner(`Not saved: ${error.message}`);
  refused = error instanceof ApiError && error.status > 0 && error.status < 500;
  if (!refused) setTimeout(() => (saving = saving.then(save)), RETRY);
}

async function resolveConflict(photo) {
  const dialog = $("conflict");
  dialog.returnValue = "";
  dialog.showModal();
  await new Promise((done) => dialog.addEventListener("close", done, { once: true }));
  unsaved = true;
  try {
    const theirs = version(await loadLabels(photo));
    photo.version = theirs;
    await save(); // over theirs, which becomes the step before
    if (dialog.returnValue === "mine" || unsaved || photo.version === theirs) return;
    await walk(photo, "undo");
    $("saved").textContent = "loaded";
  } catch (error) {
    if (unsaved) notSaved(error);
    else banner(error.message);
  }
}

async function walk(photo, which) {
  const answer = await send("POST", query(`/api/${which}`, { photo: photo.id }), null, photo.version);
  adopt(photo, await loadLabels(photo));
  saved(photo, answer);
}

$("conflict").addEventListener("cancel", (event) => event.preventDefault()); // Escape chooses neither

const settled = async () => {
  await saving;
  if (unsaved) await (saving = saving.then(save));
};

addEventListener("beforeunload", (event) => {
  if (unsaved) event.preventDefault();
});

export async function step(which) {
  await settled();
  const { photo } = state;
  if (unsaved || !photo?.labels || $(which).disabled) return;
  try {
    await walk(photo, which);
  } catch (error) {
    if (error.status === 412) await resolveConflict(photo);
    else banner(error.message);
  }
}

// Fill what is not labelled with the proposal.
export async function takeProposal() {
  const { photo } = state;
  if (!photo?.labels || !photo.proposal) return false;
  let filled = 0;
  photo.labels.forEach((id, i) => {
    if (id === UNLABELLED) [photo.labels[i], filled] = [photo.proposal[i], filled + 1];
  });
  repaint();
  if (filled) await commit(true);
  return true;
}

export async function confirm(withProposal = false) {
  const { photo } = state;
  if (!photo?.labels) return;
  if (withProposal && !(await takeProposal())) return banner("There is no proposal yet.");
  await settled();
  if (unsaved) return;
  try {
    await send("POST", query("/api/confirm", { photo: photo.id }), null, photo.version);
    banner(null);
    goOn(photo.id);
  } catch (error) {
    if (error.status === 412) await resolveConflict(photo);
    else banner(error.message);
  }
}

const isDone = (id) => ["confirmed", "corrected"].includes(state.status?.photos.find((p) => p.id === id)?.state);

// The labels stay; the photo is open again, and offered again.
export async function unconfirm() {
  const { photo } = state;
  if (!photo?.labels || !isDone(photo.id)) return;
  await settled();
  if (unsaved) return;
  try {
    const answer = await send("POST", query("/api/confirm", { photo: photo.id, confirmed: false }), null, photo.version);
    state.status.photos = answer.photos;
    banner(null);
    tell("status");
  } catch (error) {
    if (error.status === 412) await resolveConflict(photo);
    else banner(error.message);
  }
}

// To the photo offered next; without offers, to the next in the list that is not confirmed.
export function goOn(from) {
  const offer = state.status.next.find(({ id }) => id !== from && !isDone(id));
  if (offer) return open(offer.id);
  const photos = state.status.photos;
  const place = photos.findIndex((p) => p.id === from);
  const order = [...photos.slice(place + 1), ...photos.slice(0, place)];
  const next = order.find((p) => !p.fault && !isDone(p.id));
  return next ? open(next.id) : banner("Every photo is confirmed. Look at them, or export.");
}

export function openBeside(by) {
  const photos = state.status.photos;
  const place = photos.findIndex((p) => p.id === state.photo?.id);
  const next = photos[place + by];
  return next && open(next.id);
}

$("undo").addEventListener("click", () => step("undo"));
$("redo").addEventListener("click", () => step("redo"));
$("propose").addEventListener("click", takeProposal);
$("confirm").addEventListener("click", () => confirm());
$("unconfirm").addEventListener("click", unconfirm);
$("show").addEventListener("change", () => {
  state.show = $("show").value;
  tell("show");
  loadProposal();
});

hear("photo", () => {
  $("name").textContent = state.photo.id;
  $("saved").textContent = "";
  undoable(false, false);
});
hear("photo proposal opened status", () => {
  $("propose").disabled = !state.photo?.proposal;
  $("confirm").disabled = !state.photo?.labels;
  $("unconfirm").hidden = !state.photo?.labels || !isDone(state.photo.id);
});
hear("status", () => {
  if (state.status.knowledge !== state.photo?.knowledge) loadProposal();
});

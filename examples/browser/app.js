// The page: what a visitor does, what the model answers, and how it is shown.

import { drawPatches, drawScene, drawStrokes, showClasses } from "./drawing.js";
import { canvasOf, canvasOfPicture, cutPieces, digitOf, SIDE } from "./image.js";
import { choose, glimpses, load, startRuntime } from "./model.js";
import { drag } from "./pointer.js";

const STEP_MS = 450;
const $ = (id) => document.getElementById(id);
const number = (id) => Number($(id).value);
const state = { strokes: [], digit: null, place: [0, 0], pieces: [], picture: null };
let site, digits, answer, timer;

// ---- The answer, in motion

/** Looks at what is on the canvas; `since`, in ms, is when the visitor had done. */
async function look(since = performance.now()) {
  const size = number("size");
  const shown = image(size);
  const asked = (state.asked = Symbol());
  if (!state.digit && !state.picture) return showEmpty(shown, size);
  const steps = await glimpses(shown, size);
  if (asked !== state.asked) return; // by now there is something else
  answer = { image: shown, size, steps };
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  play(still ? steps.length : 1);
  $("time").textContent = `${(performance.now() - since).toFixed(0)} ms`;
}

function play(step = 1) {
  clearTimeout(timer);
  if (!answer) return;
  show(step);
  if (step < answer.steps.length) timer = setTimeout(play, STEP_MS, step + 1);
}

function showEmpty(image, size) {
  clearTimeout(timer);
  answer = null;
  drawScene($("scene"), { image, size }, [], state.preset);
  for (const item of $("glimpses").children) showGlimpse(item, null);
  showClasses($("classes"), null);
  $("answer").textContent = "Draw a digit";
}

function show(shown) {
  const { steps } = answer;
  drawScene($("scene"), answer, steps.slice(0, shown), state.preset);
  [...$("glimpses").children].forEach((item, step) => {
    showGlimpse(item, step < shown ? steps[step] : null);
    item.classList.toggle("now", step === shown - 1);
  });
  const { probabilities } = steps[shown - 1];
  showClasses($("classes"), probabilities);
  const early = steps.length < state.preset.num_glimpses ? ", sure enough to stop" : "";
  $("answer").textContent =
    shown === steps.length
      ? `${said(probabilities)} after ${shown} ${shown === 1 ? "glimpse" : "glimpses"}${early}`
      : `Glimpse ${shown} of ${steps.length} …`;
}

function showGlimpse(item, seen) {
  drawPatches(item.querySelector("canvas"), seen?.patches ?? [], state.preset.patch_size);
  item.classList.remove("now");
  item.lastChild.textContent = seen?.probabilities ? said(seen.probabilities) : "\u00a0";
}

/** The most probable class, and how probable it is. */
function said(probabilities) {
  const best = probabilities.indexOf(Math.max(...probabilities));
  return `${state.preset.class_names[best]} (${(100 * probabilities[best]).toFixed(0)}%)`;
}

// ---- What the visitor does

function strokesDone(event) {
  state.digit = digitOf(state.strokes);
  state.picture = null;
  return look(event.timeStamp);
}

function takeDigit(label) {
  const fitting = digits.filter((digit) => label === undefined || digit.label === label);
  state.digit = fitting[Math.floor(Math.random() * fitting.length)].pixels;
  Object.assign(state, { strokes: [], picture: null });
  drawStrokes($("pad"), []);
  moveAnywhere();
  return newPieces();
}

/** A place for the digit, wholly on the canvas. */
function move(x, y) {
  const room = number("size") - SIDE;
  state.place = [x, y].map((value) => Math.max(0, Math.min(room, Math.round(value))));
}

function moveAnywhere() {
  const room = number("size") - SIDE;
  move(room * Math.random(), room * Math.random());
}

function newPieces() {
  const size = number("size");
  const pixels = digits.map((digit) => digit.pixels);
  state.pieces = cutPieces(number("pieces"), size, pixels);
  $("size-shown").textContent = `${size} × ${size}`;
  $("pieces-shown").textContent = number("pieces");
  move(...state.place);
  return look();
}

function image(size) {
  if (state.picture) return canvasOfPicture(state.picture, size);
  const digit = { pixels: state.digit ?? [], side: SIDE, place: state.place };
  return canvasOf(size, [...state.pieces, digit]);
}

function clear() {
  Object.assign(state, { strokes: [], digit: null, picture: null });
  drawStrokes($("pad"), []);
  return look();
}

async function changePreset() {
  const preset = site.presets[$("preset").selectedIndex];
  $("message").textContent = `Loading ${preset.name} …`;
  try {
    await choose(preset);
    state.preset = preset;
  } finally {
    $("preset").value = state.preset?.name; // the one before, if this did not load
  }
  $("size").value = preset.size;
  $("pieces").value = preset.pieces;
  layOut(preset);
  $("message").textContent = preset.about;
  moveAnywhere();
  return newPieces();
}

/** Room for all glimpses and classes, before there are any. */
function layOut({ num_glimpses, scales, patch_size, class_names }) {
  $("glimpses").innerHTML = "<li><canvas></canvas><span></span></li>".repeat(num_glimpses);
  $("glimpses").style.setProperty("--patches", scales.length);
  for (const canvas of $("glimpses").querySelectorAll("canvas")) {
    canvas.width = (patch_size + 1) * scales.length - 1;
    canvas.height = patch_size;
  }
  $("classes").replaceChildren(
    ...class_names.map((name) => {
      const item = document.createElement("li");
      item.textContent = name;
      return item;
    }),
  );
}

async function loadPicture() {
  const [file] = $("file").files;
  if (!file) return;
  $("file").value = ""; // so that the same file can be chosen again
  state.picture = await createImageBitmap(file).catch(() => {
    throw new Error(`${file.name} is no image that this browser reads. Try PNG or JPEG.`);
  });
  Object.assign(state, { strokes: [], digit: null });
  drawStrokes($("pad"), []);
  return look();
}

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const { target, key } = event;
  if (/^[0-9]$/.test(key)) return takeDigit(Number(key));
  if (key === "Backspace") return clear();
  if (target.matches("input, select, button")) return; // which have use for these
  if (key !== " " && !(key in arrows)) return;
  event.preventDefault(); // the page would scroll
  if (key === " ") return play();
  const step = event.shiftKey ? 8 : 2;
  move(...state.place.map((value, axis) => value + step * arrows[key][axis]));
  return look(event.timeStamp);
}

/** The same function, whose errors the visitor reads. */
function guarded(action) {
  return async (event) => {
    $("message").classList.remove("error");
    if (state.preset) $("message").textContent = state.preset.about;
    try {
      await action(event);
    } catch (error) {
      $("message").textContent = error.message;
      $("message").classList.add("error");
    }
  };
}

function listen() {
  drag($("pad"), {
    start: () => state.strokes.push([]),
    moved(point) {
      state.strokes.at(-1).push(point);
      drawStrokes($("pad"), state.strokes);
    },
    done: guarded(strokesDone),
  });
  drag($("scene"), {
    start() {},
    moved([x, y]) {
      const size = number("size");
      move(x * size - SIDE / 2, y * size - SIDE / 2);
      clearTimeout(timer);
      drawScene($("scene"), { image: image(size), size }, [], state.preset);
    },
    done: guarded((event) => look(event.timeStamp)),
  });
  $("clear").onclick = guarded(clear);
  $("sample").onclick = guarded(() => takeDigit());
  $("again").onclick = () => play();
  $("file").onchange = guarded(loadPicture);
  $("preset").onchange = guarded(changePreset);
  $("size").oninput = $("pieces").oninput = guarded(newPieces);
  document.addEventListener("keydown", guarded(press));
}

async function start() {
  const text = async (file) => new TextDecoder().decode(await load(file));
  site = JSON.parse(await text("site.json"));
  const bytes = await load("digits.bin");
  const { count } = site.digits; // labels first, then pixels
  digits = Array.from({ length: count }, (_, row) => {
    const at = count + row * SIDE ** 2;
    return { label: bytes[row], pixels: bytes.slice(at, at + SIDE ** 2) };
  });
  await startRuntime();
  for (const { name } of site.presets) $("preset").append(new Option(name));
  const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
  $("facts").textContent =
    `${megabytes(site.first_bytes)} to begin with, ${megabytes(site.bytes)} with all ` +
    `models; its test pictures are of ${site.digits.source}`;
  listen();
  await changePreset();
  await takeDigit();
}

await guarded(start)();
navigator.serviceWorker?.register("sw.js");

// The steps of a user: open an image, paint, remove, compare, repeat, download.

import { Wrong, bitmap, dataUrl, get, getHealth, png, post, save } from "./api.js";
import { Mask } from "./mask.js";
import { Stage } from "./stage.js";

const $ = (id) => document.getElementById(id);
const PREVIEW = 2048; // pixels, longer side of the image on the screen; computations use the full size
const THRESHOLD = 127; // a pixel that the brush covers by at least half is removed
const ALONE = "\n"; // value of "compare with the network alone", which no model's name is
const KINDS = { jpg: "JPEG", png: "PNG", webp: "WebP", tif: "TIFF", bmp: "BMP" };

const stage = new Stage(refresh);
let health = null;
let opened = null; // {name, file, format, width, height} of the opened file
let steps = []; // {work, image, results} after each removal; the first is the opened image
let running = null; // {abort, stop}

const step = () => steps.at(-1);
const plural = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;

function say(text, wrong = false) {
  $("status").textContent = text;
  $("status").classList.toggle("wrong", wrong);
  if (wrong) toast(text);
}

function toast(text) {
  $("toast").textContent = text;
  $("toast").hidden = false;
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => { $("toast").hidden = true; }, 8000);
}

// Run ``work`` and show its error as a message.
async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    if (error.name === "AbortError") say("Cancelled.");
    else {
      say(error instanceof Wrong ? error.message : `Error in this page: ${error.message}`, true);
      if (!(error instanceof Wrong)) console.error(error);
    }
    return null;
  }
}

// Open and paint

async function open(file, name) {
  if (running) return say("Wait for the removal, or cancel it, before you open another image.", true);
  if (opened) say("Opening…");
  else toast("Opening…");
  await attempt(async () => {
    const content = await dataUrl(file);
    const info = await asked(name, { image: content, preview: PREVIEW });
    $("toast").hidden = true;
    const image = await bitmap(png(info.preview));
    opened = { name: name.replace(/\.[^.]*$/, "") || "image", file: content, ...info };
    steps = [{ work: content, image, results: [] }];
    $("start").hidden = true;
    $("work").hidden = false;
    $("new").hidden = false;
    setCompare(false);
    stage.show(image);
    fillFormats();
    const what = `${opened.width} × ${opened.height}, ${KINDS[info.format]}, ${info.bits} bits${info.alpha ? ", transparent" : ""}`;
    $("about").textContent = `${opened.name}: ${what}`;
    say([...info.notes, "Paint over an object to remove it."].join(" "));
    stage.root.focus({ preventScroll: true });
  });
}

// The properties of a file; errors name the file.
async function asked(name, content) {
  try {
    return await post("api/open", content);
  } catch (error) {
    throw error instanceof Wrong ? new Wrong(error.message.replace(/^image: /, `${name}: `)) : error;
  }
}

function fillFormats() {
  const same = `${KINDS[opened.format]}, as opened`;
  const others = Object.entries(KINDS).filter(([format]) => format !== opened.format);
  $("format").replaceChildren(new Option(same, "same"), ...others.map(([format, kind]) => new Option(kind, format)));
}

function setTool(tool) {
  stage.setTool(tool);
  for (const button of document.querySelectorAll("[data-tool]")) button.setAttribute("aria-checked", button.dataset.tool === tool);
  if (stage.comparing && tool !== "hand") setCompare(false);
}

function setSize(size) {
  size = Math.min(Math.max(Math.round(size), 2), 200);
  $("size").value = size;
  $("size-value").textContent = size;
  stage.resizeBrush(size);
}

async function loadMask(file) {
  await attempt(async () => {
    const info = await asked(file.name, { image: await dataUrl(file), mask: true, preview: PREVIEW });
    const { width, height } = stage.after;
    stage.mask.add({ kind: "image", image: Mask.read(await bitmap(png(info.preview)), width, height) });
    const other = info.width !== opened.width || info.height !== opened.height;
    const done = other ? `The mask is ${info.width} × ${info.height}: scaled to the image.` : "Mask loaded.";
    say([done, ...info.notes.map((note) => `${note.replace(/[;,][^;,]*\w=\w[^;,]*/g, "")}.`)].join(" ")); // no fields
    refresh();
  });
}

// Undo the last stroke, or the last removal if there is none.
function undo() {
  if (!stage.mask.undo()) back();
  refresh();
}

// Remove

async function run() {
  if (running || !opened) return;
  if (stage.comparing) setCompare(false);
  if (stage.mask.isEmpty) return say("Paint over an object first.", true);
  if (!chosenModels().length) return say("Select a model first.", true);
  running = { abort: new AbortController(), painted: stage.mask.done.length };
  say("");
  refresh();
  await attempt(async () => {
    const mask = await dataUrl(await stage.mask.export());
    const results = [];
    for (const model of chosenModels()) {
      results.push({ model, ...(await compute(model, mask, running.abort.signal)) });
    }
    keep(results);
  });
  clearInterval(running.stop);
  running = null;
  refresh();
}

async function compute(model, mask, signal) {
  const job = Array.from(crypto.getRandomValues(new Uint32Array(3)), (n) => n.toString(36)).join("");
  watch(job, model);
  const answer = await post("api/inpaint", {
    image: step().work, mask, model, job, resize: true, threshold: THRESHOLD, dilate: +$("dilate").value,
    feather: +$("feather").value, strategy: $("strategy").value, detail: $("detail").value, precision: $("precision").value,
    refine: $("refine").checked, format: "png", preview: PREVIEW,
  }, signal);
  const guide = answer.guide && (await bitmap(png(answer.guide)));
  return { work: png(answer.image), image: await bitmap(png(answer.preview)), guide, seconds: answer.seconds, notes: answer.notes };
}

function watch(job, model) {
  const started = performance.now();
  const whose = chosenModels().length > 1 ? `${model}: ` : "";
  const tell = (text, share = null) => {
    $("progress-text").textContent = `${whose}${text} (${Math.round((performance.now() - started) / 1000)} s)`;
    if (share === null) $("bar").removeAttribute("value");
    else $("bar").value = share;
  };
  clearInterval(running.stop);
  tell("starting");
  running.stop = setInterval(async () => {
    let now;
    try { now = await get(`api/jobs/${job}`); } catch { return; }
    if (now.state === "waiting" && now.before) tell(`waiting, ${plural(now.before, "request")} before this one`);
    else if (now.of > 1) tell(`${now.what} ${now.done} of ${now.of}`, now.done / now.of);
    else tell(now.state);
  }, 400);
}

function keep(results) {
  const removed = stage.mask.done.slice(0, running.painted);
  steps.push({ ...results[0], results, chosen: 0, removed });
  stage.show(step().image, stage.mask.done.slice(running.painted)); // keep strokes painted during the computation
  const seconds = results.map((r) => `${results.length > 1 ? `${r.model} ` : ""}${r.seconds} s`).join(", ");
  const notes = [...new Set(results.flatMap((r) => r.notes))].filter((note) => !/\w=\w/.test(note)); // without notes that name fields of a request
  say([`Done: ${seconds}. Compare, continue to paint, or download.`, ...notes].join(" "));
  if (matchMedia("(max-width: 820px)").matches) stage.root.scrollIntoView({ block: "start", behavior: "smooth" });
}

// Undo the last removal: its mask is painted again, below what was painted since.
function back() {
  if (steps.length < 2 || running) return;
  const { removed } = steps.pop();
  setCompare(false);
  stage.show(step().image, [...removed, ...stage.mask.done]);
  say("The last removal is undone; its mask is back.");
}

function choose(index) {
  const last = step();
  steps[steps.length - 1] = { ...last, ...last.results[index], results: last.results, chosen: index };
  stage.show(step().image, stage.mask.done);
  if (stage.comparing) setCompare(true);
}

// Compare and download

function setCompare(on) {
  on = on && steps.length > 1;
  $("compare").setAttribute("aria-pressed", on);
  if (!on) return stage.compare(false);
  const { results, chosen } = step();
  const name = $("against").value;
  const against = name === ALONE ? { model: "network alone", image: results[chosen].guide } : results.find((result) => result.model === name);
  stage.showBefore(against ? against.image : steps[0].image);
  stage.compare(true, against ? against.model : "before", results.length > 1 ? results[chosen].model : "after");
}

async function download() {
  say("Writing…");
  await attempt(async () => {
    const format = $("format").value;
    if (steps.length === 1 && format === "same") {
      save(opened.file, `${opened.name}.${opened.format}`);
      return say("Nothing was removed: this is the file as opened.");
    }
    const answer = await post("api/convert", { image: step().work, like: opened.file, format });
    const bytes = Uint8Array.from(atob(answer.image), (letter) => letter.charCodeAt(0));
    const url = URL.createObjectURL(new Blob([bytes]));
    save(url, `${opened.name}_lama.${answer.format}`);
    setTimeout(() => URL.revokeObjectURL(url), 60000);
    say(["Downloaded.", ...answer.notes].join(" "));
  });
}

async function saveMask() {
  const blob = await stage.mask.export(opened.width, opened.height);
  save(await dataUrl(blob), `${opened.name}_mask.png`);
}

// Which buttons are enabled

function refresh() {
  const { mask } = stage;
  $("undo").disabled = !!running || (!mask.done.length && steps.length < 2);
  $("redo").disabled = !!running || !mask.undone.length;
  $("clear").disabled = $("save-mask").disabled = !mask.done.length;
  $("back").disabled = $("compare").disabled = !!running || steps.length < 2;
  $("download").disabled = $("new").disabled = !!running;
  $("run").hidden = !!running;
  $("cancel").hidden = $("progress").hidden = !running;
  const results = step()?.results ?? [];
  $("results").hidden = results.length < 2;
  $("result-list").replaceChildren(...(results.length < 2 ? [] : results.map(resultButton)));
  const known = $("against").value;
  const others = results.filter((_, index) => index !== step().chosen).map(({ model }) => new Option(model));
  if (results[step()?.chosen]?.guide) others.push(new Option("network alone", ALONE));
  $("against-row").hidden = !others.length;
  $("against").replaceChildren(new Option("before", ""), ...others);
  $("against").value = others.some((option) => option.value === known) ? known : "";
}

function resultButton(result, index) {
  const button = document.createElement("button");
  button.type = "button";
  button.setAttribute("aria-pressed", index === step().chosen);
  const image = document.createElement("img");
  image.src = result.image.src;
  image.alt = "";
  button.append(image, `${result.model}, ${result.seconds} s`);
  button.addEventListener("click", () => choose(index));
  return button;
}

function chosenModels() {
  return [...document.querySelectorAll("#models input:checked")].map((box) => box.value);
}

function modelBox(name) {
  const label = document.createElement("label");
  const box = document.createElement("input");
  Object.assign(box, { type: "checkbox", value: name, checked: true });
  label.append(box, ` ${name}`);
  return label;
}

function fillModels() {
  $("models").hidden = health.models.length < 2;
  $("models").append(...health.models.map(modelBox));
}

// Released networks, in a list; choosing one fetches it after a question.
async function fillReleased() {
  const rows = await get("api/released");
  if (!rows.length) return;
  const list = document.createElement("select");
  list.id = "released";
  const text = (row) => `${row.name}${row.here ? "" : `, ${row.megabytes ? `${row.megabytes} MB` : "size unknown"}, not here yet`}`;
  list.append(new Option("add a released network ...", ""), ...rows.map((row) => new Option(text(row), row.name)));
  list.addEventListener("change", () => attempt(async () => {
    const row = rows.find(({ name }) => name === list.value);
    list.value = "";
    if (!row) return;
    const question = `Fetch ${row.name}${row.megabytes ? `, ${row.megabytes} MB` : ""}? Licence as stated: ${row.licence}.`;
    if (!row.here && !confirm(question)) return;
    say(row.here ? `Loading ${row.name} ...` : `Fetching ${row.name}; the terminal of the server shows how far it is.`);
    await post(`api/released/${row.name}`, {});
    say(`${row.name} is ready.`);
    [...list.options].find((option) => option.value === row.name).remove();
    list.before(modelBox(row.name));
  }));
  $("models").append(list);
  $("models").hidden = false;
}

async function fillExamples() {
  const names = await get("examples");
  $("examples").replaceChildren(...names.map((name) => {
    const button = document.createElement("button");
    const image = document.createElement("img");
    Object.assign(button, { type: "button", title: name.replaceAll("_", " ") });
    Object.assign(image, { src: `examples/${name}`, alt: name.replaceAll("_", " ") });
    button.append(image);
    button.addEventListener("click", () => attempt(async () => open(await (await fetch(image.src)).blob(), `${name}.png`)));
    return button;
  }));
}

function startAgain() {
  if (running) return;
  opened = null;
  steps = [];
  setCompare(false);
  $("work").hidden = true;
  $("new").hidden = true;
  $("start").hidden = false;
  $("choose").focus();
}

function themed(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
}

function otherTheme() {
  const dark = document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  const theme = dark === "dark" ? "light" : "dark";
  localStorage.setItem("theme", theme);
  themed(theme);
}

// Event handlers

const onClick = {
  choose: () => $("file").click(), new: startAgain, theme: otherTheme, run, back, undo, download,
  cancel: () => running?.abort.abort(), compare: () => setCompare(!stage.comparing),
  redo: () => { stage.mask.redo(); refresh(); }, clear: () => { stage.mask.add({ kind: "clear" }); refresh(); },
  "zoom-in": () => stage.zoom(1.3), "zoom-out": () => stage.zoom(1 / 1.3), fit: () => stage.fit(),
  "load-mask": () => $("mask-file").click(), "save-mask": () => attempt(saveMask),
};
for (const [id, act] of Object.entries(onClick)) $(id).addEventListener("click", act);
for (const button of document.querySelectorAll("[data-tool]")) button.addEventListener("click", () => setTool(button.dataset.tool));

$("against").addEventListener("change", () => setCompare(true));
$("size").addEventListener("input", (event) => setSize(+event.target.value));
for (const id of ["dilate", "feather"]) {
  $(id).addEventListener("input", () => { $(`${id}-value`).textContent = `${$(id).value} px`; });
}
for (const [id, use] of [["file", (file) => open(file, file.name)], ["mask-file", loadMask]]) {
  $(id).addEventListener("change", (event) => {
    const [file] = event.target.files;
    event.target.value = "";
    if (file) use(file);
  });
}

addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("dropping"); });
for (const name of ["dragleave", "drop"]) addEventListener(name, () => document.body.classList.remove("dropping"));
addEventListener("drop", (event) => {
  event.preventDefault();
  const [file] = event.dataTransfer.files;
  if (file) open(file, file.name);
});
addEventListener("paste", (event) => {
  const file = [...(event.clipboardData?.files ?? [])].find((each) => each.type.startsWith("image/"));
  if (file) open(file, file.name || "pasted");
});

addEventListener("keydown", (event) => {
  if (!opened) return;
  const typing = ["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName) && event.target.type !== "range";
  const key = event.key.toLowerCase();
  if (key === "escape" && running) return running.abort.abort();
  if (typing) return;
  if (event.ctrlKey || event.metaKey) {
    if (key === "z" || key === "y") event.preventDefault();
    if (running) return;
    if (key === "y" || (key === "z" && event.shiftKey)) onClick.redo();
    else if (key === "z") undo();
    return;
  }
  if (event.altKey) return;
  const onKey = {
    b: () => setTool("brush"), e: () => setTool("eraser"), r: () => setTool("rectangle"), h: () => setTool("hand"),
    "[": () => setSize(stage.size / 1.2 - 1), "]": () => setSize(stage.size * 1.2 + 1), c: onClick.compare,
    "+": onClick["zoom-in"], "=": onClick["zoom-in"], "-": onClick["zoom-out"], 0: onClick.fit,
    enter: () => { if (event.target.tagName !== "BUTTON" && event.target.tagName !== "SUMMARY") run(); },
  };
  onKey[key]?.();
});

themed(localStorage.getItem("theme"));
setSize(40);
refresh();
await attempt(async () => {
  health = await getHealth();
  fillModels();
  await fillReleased();
  if (!["localhost", "127.0.0.1"].includes(location.hostname)) $("where").textContent = location.host;
  await fillExamples();
});

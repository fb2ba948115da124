// One comparison after the other: show, wait for a key, send the vote, go on when the server has saved it.

import { Wrong, blobUrl, post } from "./api.js";

const $ = (id) => document.getElementById(id);
const SIDES = ["left", "original", "right"];
const KEYS = { ArrowLeft: "left", ArrowRight: "right", ArrowDown: "equal" };

let rater = "";
let state = null; // the server's answer: done, of, trial, following, undo
let busy = true; // no vote before the pictures are on the screen, and none while another is being sent
const loaded = new Map(); // from a picture's random name to a promise of its address in this browser

function toast(text) {
  $("toast").textContent = text;
  $("toast").hidden = !text;
}

function picture(name) {
  if (!loaded.has(name)) {
    const loading = blobUrl(`api/pictures/${name}`);
    loading.catch(() => loaded.delete(name));
    loaded.set(name, loading);
  }
  return loaded.get(name);
}

// Forget the pictures of earlier comparisons.
function forget() {
  const needed = new Set([state.trial, state.following].flatMap((trial) => (trial ? SIDES.map((side) => trial[side]) : [])));
  for (const [name, url] of loaded) {
    if (needed.has(name)) continue;
    loaded.delete(name);
    url.then((address) => URL.revokeObjectURL(address)).catch(() => {});
  }
}

async function show(answer) {
  state = answer;
  $("start").hidden = true;
  $("work").hidden = !state.trial;
  $("end").hidden = Boolean(state.trial);
  $("question").textContent = state.question;
  $("count").textContent = `${state.done} of ${state.of}`;
  $("progress").hidden = false;
  $("progress").value = state.of ? state.done / state.of : 1;
  $("undo").disabled = !state.undo;
  document.body.classList.add("loading");
  if (state.trial) {
    await Promise.all(SIDES.map(async (side) => {
      $(side).src = await picture(state.trial[side]);
      await $(side).decode();
    }));
    document.body.classList.remove("loading");
  }
  forget();
  if (state.following) for (const side of SIDES) picture(state.following[side]).catch(() => {});
}

// Send a request about this rater and show the answer. The same comparison stays if the server did not answer.
async function send(what, content = {}) {
  busy = true;
  try {
    const answer = await post(`api/${what}`, { rater, ...content });
    toast("");
    await show(answer);
  } catch (error) {
    if (error.status === 409) { // the server was started again, or another window has voted
      const again = () => toast("This comparison was shown again: please judge it now."); // when keys are taken again
      await post("api/state", { rater }).then(show).then(again).catch((wrong) => toast(wrong.message));
    } else {
      toast(error instanceof Wrong ? error.message : `Error in this page: ${error.message}`);
    }
  }
  busy = false;
}

function vote(choice) {
  if (!busy && state?.trial) send("vote", { trial: state.trial.trial, vote: choice });
}

function undo() {
  if (!busy && state?.undo) send("undo");
}

function toggle() {
  $("middle").hidden = !$("middle").hidden;
  $("toggle").setAttribute("aria-pressed", String(!$("middle").hidden));
}

$("start").addEventListener("submit", (event) => {
  event.preventDefault();
  rater = $("rater").value;
  send("state");
});
for (const choice of ["left", "right", "equal"]) $(`vote-${choice}`).addEventListener("click", () => vote(choice));
$("undo").addEventListener("click", undo);
$("toggle").addEventListener("click", toggle);

document.addEventListener("keydown", (event) => {
  if (!state || event.ctrlKey || event.metaKey || event.altKey) return;
  const known = event.key in KEYS || event.key === " " || event.key.toLowerCase() === "z";
  if (!known) return;
  event.preventDefault(); // no scrolling, and no click of the button that has the focus
  if (event.repeat) return; // a key that is held down is one vote
  if (event.key in KEYS) vote(KEYS[event.key]);
  else if (event.key === " ") toggle();
  else undo();
});
document.addEventListener("keyup", (event) => { if (state && event.key === " ") event.preventDefault(); });
$("rater").focus();

// What the served page asks its server for, computed in this browser: the same functions as lama/serving/static/api.js.

import { Wrong } from "./wrong.js";

export { bitmap, save } from "./files.js";
export { Wrong };

const HIDDEN = ["strategy", "precision", "refine", "feather"]; // options that need the server
const waiting = new Map(); // id of a request: {resolve, reject, job}
const jobs = new Map(); // name of a job: its progress
let worker = null;
let requests = 0;

function start() {
  worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  worker.onmessage = ({ data: { id, progress, answer, error, wrong } }) => {
    const { resolve, reject, job } = waiting.get(id) ?? {};
    if (progress) return jobs.set(job, { state: "computing", ...progress });
    waiting.delete(id);
    if (error === undefined) resolve?.(answer);
    else reject?.(wrong ? new Wrong(error) : new Error(error));
  };
  worker.onerror = (event) => fail(new Error(event.message || "the page's files are not complete"));
}

// End all requests; the next one starts the worker again.
function fail(error) {
  worker?.terminate();
  worker = null;
  for (const { reject } of waiting.values()) reject(error);
  waiting.clear();
}

export function post(path, body, signal) {
  if (!worker) start();
  const id = requests++;
  signal?.addEventListener("abort", () => fail(new DOMException("cancelled", "AbortError")));
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject, job: body.job });
    worker.postMessage({ id, path, body });
  });
}

export async function get(path) {
  if (path.startsWith("api/jobs/")) return jobs.get(path.slice("api/jobs/".length)) ?? { state: "starting" };
  return []; // neither examples nor released networks
}

export async function getHealth() {
  const page = await (await fetch("page.json")).json();
  prepare();
  return { models: [page.model] };
}

// Words and options that are true of this page.
function prepare() {
  const where = document.getElementById("where"); // of the served page: the server that the image is sent to
  where.hidden = true;
  document.querySelector("#drop .hint").replaceChildren("JPEG, PNG, WebP or BMP. It stays in this browser: nothing is sent.", where);
  for (const id of HIDDEN) document.getElementById(id).closest("label").hidden = true;
  document.querySelector("nav a").hidden = true;
  document.querySelector("#start h2").hidden = true;
}

export const png = (url) => url;
export const dataUrl = async (file) => URL.createObjectURL(file);

// The service worker keeps the page's files for use without a network, and its answers let WebAssembly use threads.
if (navigator.serviceWorker && !self.crossOriginIsolated && !sessionStorage.getItem("reloaded")) {
  await navigator.serviceWorker.register("sw.js").catch((error) => console.warn(error));
  navigator.serviceWorker.addEventListener("controllerchange", () => {
    sessionStorage.setItem("reloaded", "yes");
    location.reload();
  });
}

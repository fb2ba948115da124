// Requests to the server of this page, and files in the browser.

export { bitmap, save } from "./files.js";

const token = new URLSearchParams(location.hash.slice(1)).get("token");

const NO_TOKEN = "This page needs a token: open the address that the server printed at its start.";

export class Wrong extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

// The content of a good answer, or an error with the message of a bad one.
async function answer(response, read) {
  if (response.ok) return read(response);
  let content = {};
  try { content = await response.json(); } catch { /* no JSON: the status is the message */ }
  if (response.status === 401) throw new Wrong(NO_TOKEN, 401);
  throw new Wrong(content.error ?? `The server answered ${response.status} ${response.statusText}`, response.status);
}

async function ask(path, options = {}, read = (response) => response.json()) {
  const headers = { ...(options.body && { "Content-Type": "application/json" }), ...(token && { Authorization: `Bearer ${token}` }) };
  try {
    return await answer(await fetch(path, { ...options, headers }), read);
  } catch (error) {
    if (error instanceof Wrong || error.name === "AbortError") throw error;
    throw new Wrong("The server does not answer; check whether it is running.");
  }
}

export const get = (path) => ask(path);
// Version, models and limits; without the token the server tells only that it runs.
export async function getHealth() {
  const health = await get("health");
  if (!health.models) throw new Wrong(NO_TOKEN);
  return health;
}

export const post = (path, body, signal) => ask(path, { method: "POST", body: JSON.stringify(body), signal });

// The address in this browser of a file of the server; an <img> alone could not send the token.
export const blobUrl = (path) => ask(path, {}, async (response) => URL.createObjectURL(await response.blob()));

export const png = (base64) => `data:image/png;base64,${base64}`;

// A file as a data: URL.
export function dataUrl(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new Wrong(`${file.name}: cannot be read`));
    reader.readAsDataURL(file);
  });
}

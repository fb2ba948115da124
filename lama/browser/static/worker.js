// Removals, computed in the browser, beside the page: the answers have the fields of the server's endpoint.

import { synthesize } from "./detail.js";
import { address, context, decode, grown, holeOf, pixels, preview, scaled } from "./images.js";
import { load } from "./network.js";
import { holePieces } from "./windows.js";
import { Wrong } from "./wrong.js";

const LEAST = 64; // pixels of a reduced window's shorter side
const MUCH = 2; // a window of so many times the network's scale is much larger than it
const TYPES = { jpg: "image/jpeg", png: "image/png", webp: "image/webp" };
const QUALITY = 0.95; // of JPEG and WebP
const page = fetch("../page.json").then((response) => response.json());
let network = null; // a promise

onmessage = async ({ data: { id, path, body } }) => {
  const tell = (progress) => postMessage({ id, progress });
  try {
    postMessage({ id, answer: await { "api/open": open, "api/inpaint": inpaint, "api/convert": convert }[path](body, tell) });
  } catch (error) {
    postMessage({ id, error: error.message, wrong: error instanceof Wrong });
  }
};

async function open({ image, mask, preview: longest }) {
  const bytes = new Uint8Array(await (await fetch(image)).arrayBuffer());
  const canvas = await decode(image);
  const { width, height } = canvas;
  const { data } = pixels(canvas);
  const deep = formatOf(bytes) === "png" && bytes[24] === 16;
  if (mask) paint(canvas, holeOf(canvas, width, height));
  return {
    format: formatOf(bytes), width, height, bits: deep ? 16 : 8, alpha: isTransparent(data),
    notes: deep ? ["The browser reads 8 of the 16 bits."] : [], preview: await preview(canvas, longest),
  };
}

// Whether a pixel of RGBA is not opaque.
function isTransparent(data) {
  for (let i = 3; i < data.length; i += 4) if (data[i] < 255) return true;
  return false;
}

// The format by the first bytes of a file.
function formatOf(bytes) {
  const text = String.fromCharCode(...bytes.subarray(0, 12));
  if (text.startsWith("\x89PNG")) return "png";
  if (text.startsWith("\xff\xd8")) return "jpg";
  if (text.startsWith("RIFF") && text.endsWith("WEBP")) return "webp";
  return text.startsWith("BM") ? "bmp" : "png"; // of other formats the result is PNG
}

function paint(canvas, hole) {
  const painted = pixels(canvas);
  hole.forEach((value, i) => painted.data.fill(255 * value, 4 * i, 4 * i + 3).fill(255, 4 * i + 3, 4 * i + 4));
  context(canvas).putImageData(painted, 0, 0);
}

async function inpaint(body, tell) {
  const started = performance.now();
  const canvas = await decode(body.image);
  const { width, height } = canvas;
  const painted = holeOf(await decode(body.mask, "mask"), width, height, body.threshold);
  const hole = grown(painted, width, height, body.dilate);
  const result = pixels(canvas);
  const pieces = holePieces(hole, width, height);
  if (!pieces.length) throw new Wrong("mask: nothing is painted");
  network ??= load(await page, tell);
  const { run, backend } = await network.catch((error) => { network = null; throw error; });
  for (const [done, piece] of pieces.entries()) {
    tell({ what: "hole", done, of: pieces.length });
    await fill(run, canvas, hole, piece, result.data);
  }
  context(canvas).putImageData(result, 0, 0);
  const answer = { notes: [], backend };
  if (body.detail !== "off") {
    answer.guide = await preview(canvas, body.preview);
    const texture = body.detail === "on" || hasTexture(await page, pieces);
    synthesize(result.data, hole, width, height, { texture, tell: (done, of) => tell({ what: "texture", done, of }) });
    context(canvas).putImageData(result, 0, 0);
  }
  answer.seconds = Math.round((performance.now() - started) / 100) / 10;
  return { ...answer, image: await address(canvas), preview: await preview(canvas, body.preview) };
}

// Whether ``detail=auto`` takes texture from the photograph: the network asks for it, or a window was much reduced.
function hasTexture({ detail, scale }, pieces) {
  return detail || pieces.some(({ top, bottom, left, right }) => Math.max(bottom - top, right - left) > MUCH * scale);
}

// Complete one window, at the network's scale if it is larger, and write its pixels into ``result`` (RGBA).
async function fill(run, canvas, hole, piece, result) {
  const { scale } = await page;
  const [width, height] = [piece.right - piece.left, piece.bottom - piece.top];
  const factor = Math.min(Math.max(scale / Math.max(width, height), LEAST / Math.min(width, height)), 1);
  const [w, h] = [width, height].map((side) => Math.max(Math.round(side * factor), 1));
  const known = pixels(scaled(canvas, piece.left, piece.top, width, height, w, h));
  const mask = reduced(hole, canvas.width, piece, w, h);
  const rgb = new Float32Array(3 * w * h);
  for (let i = 0; i < w * h; i++) for (let c = 0; c < 3; c++) rgb[c * w * h + i] = known.data[4 * i + c] / 255;
  const completed = await run(rgb, mask, w, h);
  for (let i = 0; i < w * h; i++) for (let c = 0; c < 3; c++) known.data[4 * i + c] = Math.round(255 * completed[c * w * h + i]);
  for (let i = 3; i < known.data.length; i += 4) known.data[i] = 255;
  const small = new OffscreenCanvas(w, h);
  context(small).putImageData(known, 0, 0);
  const { data } = pixels(scaled(small, 0, 0, w, h, width, height));
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!piece.take(piece.top + y, piece.left + x)) continue;
      const [from, to] = [4 * (y * width + x), 4 * ((piece.top + y) * canvas.width + piece.left + x)];
      for (let c = 0; c < 3; c++) result[to + c] = data[from + c];
    }
  }
}

// The hole of a window at another size: a pixel is unknown if a part of it is. A reduced hole grows by one pixel, since the
// browser's reduction of the image mixes neighbours.
function reduced(hole, stride, { top, left, bottom, right }, w, h) {
  const mask = new Float32Array(w * h);
  const [x, y] = [w / (right - left), h / (bottom - top)];
  const more = x < 1 || y < 1 ? 1 : 0;
  for (let row = top; row < bottom; row++) {
    for (let column = left; column < right; column++) {
      if (!hole[row * stride + column]) continue;
      const [first, last] = [Math.floor((row - top) * y) - more, Math.ceil((row + 1 - top) * y) + more];
      const [begin, end] = [Math.floor((column - left) * x) - more, Math.ceil((column + 1 - left) * x) + more];
      for (let r = Math.max(first, 0); r < Math.min(last, h); r++) mask.fill(1, r * w + Math.max(begin, 0), r * w + Math.min(end, w));
    }
  }
  return mask;
}

async function convert({ image, like, format }) {
  const opened = formatOf(new Uint8Array(await (await fetch(like)).arrayBuffer()));
  const wanted = format === "same" ? (opened in TYPES ? opened : "png") : format;
  if (!(wanted in TYPES)) throw new Wrong(`${wanted.toUpperCase()}: a browser writes ${Object.keys(TYPES).join(", ")}`);
  const blob = await (await decode(image)).convertToBlob({ type: TYPES[wanted], quality: QUALITY });
  const notes = ["Colours are sRGB; EXIF is not kept."];
  return { image: new FileReaderSync().readAsDataURL(blob).split(",")[1], format: wanted, notes };
}

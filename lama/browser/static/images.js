// Images as canvases and pixels.

import { Wrong } from "./wrong.js";

// A canvas with the upright image at ``url``, in sRGB and 8 bits.
export async function decode(url, name = "image") {
  let bitmap;
  try {
    bitmap = await createImageBitmap(await (await fetch(url)).blob());
  } catch {
    throw new Wrong(`${name}: not an image that this browser reads; try JPEG, PNG or WebP`);
  }
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  context(canvas).drawImage(bitmap, 0, 0);
  bitmap.close();
  return canvas;
}

export const context = (canvas) => canvas.getContext("2d", { willReadFrequently: true });

// RGBA, row by row.
export const pixels = (canvas) => context(canvas).getImageData(0, 0, canvas.width, canvas.height);

// The part of a canvas at ``left``, ``top``, drawn at another size.
export function scaled(canvas, left, top, width, height, toWidth, toHeight) {
  const part = new OffscreenCanvas(toWidth, toHeight);
  const target = context(part);
  target.imageSmoothingEnabled = width !== toWidth || height !== toHeight;
  target.imageSmoothingQuality = "high";
  target.drawImage(canvas, left, top, width, height, 0, 0, toWidth, toHeight);
  return part;
}

// An address of the canvas as a file.
export async function address(canvas, type = "image/png", quality = undefined) {
  return URL.createObjectURL(await canvas.convertToBlob({ type, quality }));
}

// The same with a longer side of at most ``longest`` pixels.
export function preview(canvas, longest) {
  const factor = Math.min(longest / Math.max(canvas.width, canvas.height), 1);
  const [width, height] = [canvas.width, canvas.height].map((side) => Math.max(Math.round(side * factor), 1));
  return address(scaled(canvas, 0, 0, canvas.width, canvas.height, width, height));
}

// The hole of a mask, at another size: 1 where a channel is above ``threshold`` and the mask is not transparent.
export function holeOf(mask, width, height, threshold = 0) {
  const part = new OffscreenCanvas(width, height);
  context(part).imageSmoothingEnabled = false;
  context(part).drawImage(mask, 0, 0, width, height);
  const { data } = pixels(part);
  const hole = new Uint8Array(width * height);
  for (let i = 0; i < hole.length; i++) {
    const at = 4 * i;
    hole[i] = data[at + 3] > 0 && Math.max(data[at], data[at + 1], data[at + 2]) > threshold ? 1 : 0;
  }
  return hole;
}

// The hole grown by ``by`` pixels in every direction: a square, rows first, then columns.
export function grown(hole, width, height, by) {
  if (!by) return hole;
  const line = (from, to, start, step, length) => {
    let last = -Infinity;
    for (let i = 0, ahead = 0; i < length; i++) {
      for (; ahead < length && ahead <= i + by; ahead++) if (from[start + ahead * step]) last = ahead;
      to[start + i * step] = last >= i - by ? 1 : 0;
    }
  };
  const [wide, both] = [new Uint8Array(hole.length), new Uint8Array(hole.length)];
  for (let y = 0; y < height; y++) line(hole, wide, y * width, 1, width);
  for (let x = 0; x < width; x++) line(wide, both, x, width, height);
  return both;
}

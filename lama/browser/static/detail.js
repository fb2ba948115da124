// Texture for a hole, coarse to fine, under a guide: lama/detail/synthesize.py explains the steps, docs/detail.md the idea.

import { area, converted, crop, distances, gaussian, mirrored, resize, smooth } from "./filters.js";
import { grown } from "./images.js";
import { toLab, writeRgb } from "./lab.js";
import { levelGuide } from "./membrane.js";
import { UNIT, rint, search } from "./patchmatch.js";
import { texturePieces } from "./windows.js";

const LEAST = 16; // pixels of a window's shorter side
const MOST_UNKNOWN = 2 / 3; // of a window
const MOST = 100 * UNIT; // of a detail
const SEAM = 2; // pixels at 512, standard deviation of the means whose difference is the step at the border
const RADIUS = [3, 3, 3, 2]; // of patches, coarse to fine, the last for all finer levels
const EFFORT = [
  { rounds: 16, sweeps: 4 }, { rounds: 16, sweeps: 3 }, { rounds: 8, sweeps: 2 }, { rounds: 4, sweeps: 2, reach: 32 },
  { rounds: 2, sweeps: 1, reach: 8 },
];
const WEIGHTS = { sigma: 7, own: 0.125, guide: 0.5, slope: 0.1, distance: 30, reuse: 2, trust: 1.3, reach: 48, sharp: 1 };
const [FINE, RING, AS_SHARP, VISIBLE] = [1.5, 16, [0.8, 1.4], 0.7]; // of ``isSharp``, as lama/detail/choice.py
const SAMPLES = 20000; // pixels whose colours limit the guide's
const CONTRAST = { sigma: 3, least: 0.02, most: 2 }; // of ``sharpened``, as lama/detail/contrast.py

// Give the hole (0 or 1) of RGBA pixels, which holds the guide, the texture of the known pixels, in place. ``texture: false``
// stops after the first step, the membrane. ``tell(done, of)`` is called before each level of the pyramids.
export function synthesize(data, hole, width, height, { seed = 0, texture = true, tell = () => {} } = {}) {
  const pieces = texturePieces(hole, width, height);
  const counts = pieces.map((piece) => texture ? levelsOf(piece) : 1);
  const all = counts.reduce((a, b) => a + b, 0);
  pieces.forEach((piece, n) => {
    const before = counts.slice(0, n).reduce((a, b) => a + b, 0);
    fillPiece(data, hole, width, piece, seed, texture, (step) => tell(before + step, all));
  });
}

function fillPiece(data, hole, stride, piece, seed, texture, tell) {
  const { top, left, bottom, right, take } = piece;
  const [width, height] = [right - left, bottom - top];
  const here = crop(hole, stride, left, top, width, height);
  const target = new Uint8Array(here.length);
  for (let y = 0, i = 0; y < height; y++) for (let x = 0; x < width; x++, i++) if (here[i]) target[i] = take(top + y, left + x) ? 1 : 0;
  const lab = fill(toLab(data, stride, piece), here, target, width, height, levelsOf(piece), seed, texture, tell);
  if (!lab) return;
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) if (target[i]) writeRgb(lab, i, data, 4 * ((top + y) * stride + left + x));
  }
}

// The planes of a window with its target filled; null where nothing around it is known.
function fill(lab, hole, target, width, height, levels, seed, texture, tell) {
  const unknown = hole.reduce((a, b) => a + b, 0);
  if (unknown === hole.length) return null;
  tell(0);
  const relative = Math.max(width, height) / 512;
  const size = Math.max(relative, 1);
  levelGuide(lab, hole, width, height, SEAM * size);
  if (!texture || Math.min(width, height) < LEAST || unknown > MOST_UNKNOWN * hole.length) return lab;
  if (isSharp(lab[0], hole, target, width, height)) return lab;
  limitColours(lab, hole, target, width, height, WEIGHTS.reach * size);
  const low = lab.map((plane) => smooth(plane, width, height, WEIGHTS.sigma * size));
  const planes = { lab, low, hole, target, width, height };
  const scale = Math.max(relative, 0.5);
  let done = null;
  for (let step = 0; step < levels; step++) {
    tell(step);
    const level = build(planes, step, levels, scale);
    if (!level) continue;
    if (done) takeOver(level, done);
    search(level, EFFORT[Math.min(step, EFFORT.length - 1)], WEIGHTS.sharp, seed + step);
    done = level;
  }
  return done ? blend(lab, low, sharpened(done), target, 1 - WEIGHTS.own / scale) : lab;
}

// The found detail on the coarser part of the guide; the guide's own keeps the rest of ``share``.
function blend(lab, low, detail, target, share) {
  lab.forEach((plane, c) => {
    for (let i = 0; i < plane.length; i++) if (target[i]) plane[i] += share * (low[c][i] + detail[3 * i + c] - plane[i]);
  });
  return lab;
}

// Of the pyramid: 4 at 512, one more for each doubling.
function levelsOf({ top, bottom, left, right }) {
  return 4 + rint(Math.log2(Math.max(Math.max(bottom - top, right - left) / 512, 1)));
}

// The level ``step`` of ``levels``, 0 the coarsest; null where it has no source.
export function build(planes, step, levels, scale) {
  const radius = RADIUS[Math.min(step, RADIUS.length - 1)];
  const factor = 2 ** (levels - 1 - step);
  const [w, h] = [planes.width, planes.height].map((side) => Math.max(Math.floor(side / factor), 2 * radius + 2));
  const at = (plane) => factor === 1 ? plane : resize(plane, planes.width, planes.height, w, h, area);
  const some = (mask) => converted(at(mask), Uint8Array, (value) => value > 1e-3 ? 1 : 0);
  const [holeHere, targetHere] = [some(planes.hole), some(planes.target)];
  const frame = framer(w, h, radius);
  const [width, height] = [w + 2 * radius, h + 2 * radius];
  const [hole, depth] = [frame([holeHere], Uint8Array), frame([distances(holeHere, w, h)], Float32Array)];
  const { centres, boundary, source } = splitCentres(hole, frame([targetHere], Uint8Array), width, height, radius);
  if (!centres.length || !source.includes(1)) return null;
  const patch = (2 * radius + 1) ** 2;
  const unit = patch * UNIT ** 2; // costs are sums over the patch, in steps
  const low = planes.low.map(at);
  const detail = planes.lab.map((plane, c) => at(plane).map((value, i) => value - low[c][i]));
  const deep = converted(centres, Float64Array, (p) => depth[p]);
  return {
    radius, width, height, hole, source, centres, boundary,
    detail: frame(detail.map(quantised), Int16Array), low: frame(low.map(quantised), Int16Array),
    locality: deep.map((d) => (WEIGHTS.distance * unit * factor) / (16 * scale + 2 * d * factor)),
    trust: deep.map((d) => WEIGHTS.trust ** -Math.min(d, 40)),
    guide: rint(WEIGHTS.guide * patch), slope: rint(WEIGHTS.slope * patch), reuse: rint(WEIGHTS.reuse * unit),
    match: new Int32Array(hole.length).fill(-1), used: new Int32Array(hole.length), energy: new Int32Array(hole.length),
    pixels: indices(hole, width, height, radius), cost: null,
  };
}

const quantised = (plane) => converted(plane, Int16Array, (value) => rint(Math.min(Math.max(value * UNIT, -MOST), MOST)));

// A function that puts planes of w x h pixels side by side, pixel by pixel, with a mirrored frame.
function framer(w, h, radius) {
  return (planes, Kind) => {
    const [width, height, n] = [w + 2 * radius, h + 2 * radius, planes.length];
    const result = new Kind(n * width * height);
    for (let y = 0, to = 0; y < height; y++) {
      const row = w * mirrored(y - radius, h);
      for (let x = 0; x < width; x++) {
        const from = row + mirrored(x - radius, w);
        for (let c = 0; c < n; c++, to++) result[to] = planes[c][from];
      }
    }
    return result;
  };
}

// Where ``mask`` is 1, without the frame.
function indices(mask, width, height, radius) {
  const found = [];
  for (let y = radius; y < height - radius; y++) for (let x = radius; x < width - radius; x++) if (mask[y * width + x]) found.push(y * width + x);
  return Int32Array.from(found);
}

// Centres of ``target``, black fields of the chessboard first, how many these are, and sources outside ``hole``.
function splitCentres(hole, target, width, height, radius) {
  const touching = indices(grown(target, width, height, radius), width, height, radius);
  const black = (p) => (Math.floor(p / width) + (p % width)) % 2 === 0;
  const [first, second] = [touching.filter(black), touching.filter((p) => !black(p))];
  const centres = new Int32Array(touching.length);
  centres.set(first);
  centres.set(second, first.length);
  const outside = hole.map((value, p) => {
    const [y, x] = [Math.floor(p / width), p % width];
    return value || y < radius || y >= height - radius || x < radius || x >= width - radius ? 1 : 0;
  });
  const source = grown(outside, width, height, radius).map((value) => 1 - value);
  return { centres, boundary: first.length, source };
}

// Begin with the matches of the next coarser level, twice as far from the corner.
function takeOver(level, coarser) {
  const { radius: r, width, height } = level;
  const other = coarser.radius;
  const twice = (at, odd, n) => Math.min(Math.max(2 * (at - other) + odd, r), n - 1 - 3 * r) + r;
  for (const p of level.centres) {
    const [y, x] = [Math.floor(p / width) - r, (p % width) - r];
    const row = Math.min((y >> 1) + other, coarser.height - 1 - other);
    const found = coarser.match[row * coarser.width + Math.min((x >> 1) + other, coarser.width - 1 - other)];
    if (found < 0) continue;
    const [v, u] = [Math.floor(found / coarser.width), found % coarser.width];
    level.match[p] = twice(v, y % 2, height) * width + twice(u, x % 2, width);
  }
}

// The voted detail (H, W, 3) in units of Lab, without the frame, with the contrast of the patches that voted.
export function sharpened({ radius, width, height, detail, hole, energy }) {
  const [w, h] = [width - 2 * radius, height - 2 * radius];
  const [found, sought] = [new Float32Array(w * h), new Float32Array(w * h)];
  const result = new Float32Array(3 * w * h);
  for (let y = 0, i = 0; y < h; y++) {
    for (let x = 0; x < w; x++, i++) {
      const p = (y + radius) * width + x + radius;
      for (let c = 0; c < 3; c++) result[3 * i + c] = detail[3 * p + c] / UNIT;
      if (!hole[p]) continue;
      sought[i] = energy[p] / UNIT ** 2 + CONTRAST.least;
      found[i] = result[3 * i] ** 2 + result[3 * i + 1] ** 2 + result[3 * i + 2] ** 2 + CONTRAST.least;
    }
  }
  const [wanted, present] = [sought, found].map((plane) => gaussian(plane, w, h, CONTRAST.sigma));
  for (let i = 0; i < w * h; i++) {
    if (!found[i]) continue;
    const gain = Math.min(Math.max(Math.sqrt(wanted[i] / Math.max(present[i], 1e-9)), 1), CONTRAST.most);
    for (let c = 0; c < 3; c++) result[3 * i + c] *= gain;
  }
  return result;
}

// Whether the guide in the target is as sharp as the known pixels around it: then it has texture of its own.
function isSharp(luminance, hole, target, width, height) {
  const coarse = gaussian(luminance, width, height, FINE);
  const ring = grown(target, width, height, RING);
  const [inside, around] = [{ sum: 0, n: 0 }, { sum: 0, n: 0 }];
  for (let i = 0; i < hole.length; i++) {
    const group = target[i] ? inside : ring[i] && !hole[i] ? around : null;
    if (!group) continue;
    group.sum += (luminance[i] - coarse[i]) ** 2;
    group.n++;
  }
  if (!around.n) return false;
  const [sharp, other] = [inside, around].map(({ sum, n }) => Math.sqrt(sum / n));
  return other > VISIBLE && AS_SHARP[0] <= sharp / other && sharp / other <= AS_SHARP[1];
}

// Clip the target to the range of each channel within ``reach`` pixels, 1st to 99th percentile, in place.
function limitColours(lab, hole, target, width, height, reach) {
  const near = grown(target, width, height, Math.max(rint(reach), 1));
  const ring = near.reduce((found, value, i) => { if (value && !hole[i]) found.push(i); return found; }, []);
  if (!ring.length) return;
  const step = Math.max(Math.floor(ring.length / SAMPLES), 1);
  const some = ring.filter((_, n) => n % step === 0);
  for (const plane of lab) {
    const sorted = Float32Array.from(some, (i) => plane[i]).sort();
    const [low, high] = [0.01, 0.99].map((share) => {
      const at = share * (sorted.length - 1);
      const [below, above] = [sorted[Math.floor(at)], sorted[Math.ceil(at)]];
      return below + (at % 1) * (above - below);
    });
    for (let i = 0; i < plane.length; i++) if (target[i]) plane[i] = Math.min(Math.max(plane[i], low), high);
  }
}

// The membrane, as lama/detail/membrane.py: the step at the border of a hole, spread over the hole by Laplace's equation.
// Up to DIRECT unknowns by overrelaxation until nothing moves, larger holes by a pyramid.

import { area, converted, crop, linear, mirrored, resize, smooth } from "./filters.js";
import { grown } from "./images.js";

const DIRECT = 6000;
const WIDE = 4; // pixels of a Gaussian, wider ones are computed at a lower resolution
const STEPS = 8; // of Jacobi on each finer level
const STILL = 1e-4; // units of Lab: the solution moves by less
const SWEEPS = 2000; // at most

// Remove the step at the hole's border from three planes, in place. The step lies between Gaussian means of ``sigma`` pixels.
export function levelGuide(planes, hole, width, height, sigma) {
  const box = around(hole, width, height, Math.floor(4 * sigma) + 2);
  if (!box || hole.every((value) => value)) return;
  const [w, h] = [box.right - box.left, box.bottom - box.top];
  const inside = Float32Array.from(crop(hole, width, box.left, box.top, w, h));
  const known = inside.map((value) => 1 - value);
  const near = grown(known, w, h, 1);
  const border = near.map((value, i) => value && inside[i] ? 1 : 0);
  const [within, beyond] = [inside, known].map((weight) => smooth(weight, w, h, sigma, WIDE));
  const meanOf = (plane, weight, count) => {
    const sum = smooth(plane.map((value, i) => value * weight[i]), w, h, sigma, WIDE);
    return sum.map((value, i) => value / Math.max(count[i], 1e-3));
  };
  const steps = planes.map((plane) => {
    const part = crop(plane, width, box.left, box.top, w, h);
    const [outer, inner] = [meanOf(part, known, beyond), meanOf(part, inside, within)];
    return outer.map((value, i) => border[i] ? value - inner[i] : 0);
  });
  const fields = harmonic(steps, border, inside, w, h).map((field) => meanOf(field, inside, within));
  for (let y = 0, i = 0; y < h; y++) {
    for (let x = 0; x < w; x++, i++) {
      const to = (box.top + y) * width + box.left + x;
      if (inside[i]) for (let c = 0; c < 3; c++) planes[c][to] += fields[c][i];
    }
  }
}

// The box of a hole with ``rim`` pixels around it; null without a hole.
function around(hole, width, height, rim) {
  let [top, bottom, left, right] = [height, 0, width, 0];
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (!hole[i]) continue;
      [top, bottom] = [Math.min(top, y), y + 1];
      [left, right] = [Math.min(left, x), Math.max(right, x + 1)];
    }
  }
  if (!bottom) return null;
  return {
    top: Math.max(top - rim, 0), bottom: Math.min(bottom + rim, height),
    left: Math.max(left - rim, 0), right: Math.min(right + rim, width),
  };
}

// Planes with their values where ``fixed``, harmonic in the rest of ``region``, whose other edges reflect; 0 in parts without a
// fixed pixel.
export function harmonic(planes, fixed, region, width, height) {
  const count = region.reduce((n, value, i) => n + (value && !fixed[i] ? 1 : 0), 0);
  const free = new Int32Array(count);
  for (let i = 0, n = 0; i < region.length; i++) if (region[i] && !fixed[i]) free[n++] = i;
  if (count <= DIRECT || Math.min(width, height) <= 4) return exact(planes, fixed, region, free, width, height);
  const [w, h] = [(width + 1) >> 1, (height + 1) >> 1];
  const shrunk = (plane) => resize(plane, width, height, w, h, area);
  const share = shrunk(fixed);
  const coarse = planes.map((values) => shrunk(values.map((v, i) => fixed[i] ? v : 0)).map((v, i) => v / Math.max(share[i], 1e-6)));
  const some = (plane) => converted(plane, Uint8Array, (value) => value > 0 ? 1 : 0);
  const fields = harmonic(coarse, some(share), some(shrunk(region)), w, h).map((plane, c) =>
    resize(plane, w, h, width, height, linear).map((value, i) => fixed[i] ? planes[c][i] : value));
  const around = [-1, 0, 1].flatMap((dy) => [-1, 0, 1].map((dx) => [dy, dx]));
  const beside = neighbours(free, fixed, region, width, height, around);
  for (const field of fields) for (let step = 0; step < STEPS; step++) relax(field, free, beside, 9);
  return fields;
}

// For each free pixel, the neighbours that take part, then -1. Beyond the border are mirrored pixels.
function neighbours(free, fixed, region, width, height, around) {
  const found = new Int32Array(around.length * free.length).fill(-1);
  for (let n = 0; n < free.length; n++) {
    const y = Math.floor(free[n] / width);
    const x = free[n] % width;
    let to = n * around.length;
    for (const [dy, dx] of around) {
      const at = mirrored(y + dy, height) * width + mirrored(x + dx, width);
      if (region[at] || fixed[at]) found[to++] = at;
    }
  }
  return found;
}

// One Jacobi step.
function relax(field, free, beside, most) {
  const next = new Float32Array(free.length);
  for (let n = 0; n < free.length; n++) next[n] = mean(field, beside, n * most, most);
  for (let n = 0; n < free.length; n++) field[free[n]] = next[n];
}

function mean(field, beside, first, most) {
  let sum = 0;
  let count = 0;
  for (let at = beside[first]; count < most && at >= 0; at = beside[first + count]) {
    sum += field[at];
    count++;
  }
  return sum / count;
}

// The five-point Laplacian by successive overrelaxation.
function exact(planes, fixed, region, free, width, height) {
  const factor = 2 / (1 + Math.sin(Math.PI / (Math.sqrt(free.length) + 2)));
  const beside = neighbours(free, fixed, region, width, height, [[-1, 0], [0, -1], [0, 1], [1, 0]]);
  return planes.map((values) => {
    const field = values.map((value, i) => fixed[i] ? value : 0);
    for (let sweep = 0, moved = 1; sweep < SWEEPS && moved > STILL; sweep++) {
      moved = 0;
      for (let n = 0; n < free.length; n++) {
        if (beside[4 * n] < 0) continue; // alone
        const change = factor * (mean(field, beside, 4 * n, 4) - field[free[n]]);
        field[free[n]] += change;
        moved = Math.max(moved, Math.abs(change));
      }
    }
    return field;
  });
}

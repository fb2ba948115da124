// Filters of one plane of numbers, row by row; borders and sizes are OpenCV's.

// Index ``i`` outside 0 to n - 1, mirrored at the first and the last element.
export function mirrored(i, n) {
  if (n === 1) return 0;
  while (i < 0 || i >= n) i = i < 0 ? -i : 2 * n - 2 - i;
  return i;
}

// A Gaussian of ``sigma`` pixels, cut at four of them.
export function gaussian(plane, width, height, sigma) {
  const radius = Math.round(8 * sigma + 1) >> 1;
  const kernel = Float64Array.from({ length: radius + 1 }, (_, i) => Math.exp(-(i * i) / (2 * sigma * sigma)));
  const sum = 2 * kernel.reduce((a, b) => a + b) - kernel[0];
  for (let i = 0; i <= radius; i++) kernel[i] /= sum;
  return down(along(plane, width, height, kernel, radius), width, height, kernel, radius);
}

function along(plane, width, height, kernel, radius) {
  const result = new Float32Array(plane.length);
  const line = new Float64Array(width + 2 * radius);
  const sums = new Float64Array(width);
  for (let y = 0; y < height; y++) {
    for (let x = -radius; x < 0; x++) line[x + radius] = plane[y * width + mirrored(x, width)];
    for (let x = 0; x < width; x++) line[x + radius] = plane[y * width + x];
    for (let x = width; x < width + radius; x++) line[x + radius] = plane[y * width + mirrored(x, width)];
    for (let x = 0; x < width; x++) sums[x] = kernel[0] * line[x + radius];
    for (let j = 1; j <= radius; j++) {
      const share = kernel[j];
      for (let x = 0, left = radius - j, right = radius + j; x < width; x++) sums[x] += share * (line[left + x] + line[right + x]);
    }
    result.set(sums, y * width);
  }
  return result;
}

function down(plane, width, height, kernel, radius) {
  const result = new Float32Array(plane.length);
  const sums = new Float64Array(width);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) sums[x] = kernel[0] * plane[y * width + x];
    for (let j = 1; j <= radius; j++) {
      const [above, below] = [mirrored(y - j, height) * width, mirrored(y + j, height) * width];
      const share = kernel[j];
      for (let x = 0; x < width; x++) sums[x] += share * (plane[above + x] + plane[below + x]);
    }
    result.set(sums, y * width);
  }
  return result;
}

// A Gaussian; one wider than ``most`` pixels is computed at a lower resolution.
export function smooth(plane, width, height, sigma, most = 8) {
  const shrink = Math.max(Math.floor(sigma / most), 1);
  if (shrink === 1) return gaussian(plane, width, height, sigma);
  const [w, h] = [width, height].map((side) => Math.max(Math.floor(side / shrink), 1));
  const small = gaussian(resize(plane, width, height, w, h, area), w, h, sigma / shrink);
  return resize(small, w, h, width, height, cubic);
}

// ``plane`` at another size by ``kind``: area, linear or cubic.
export function resize(plane, width, height, toWidth, toHeight, kind) {
  const [columns, rows] = [kind(width, toWidth), kind(height, toHeight)];
  if (toHeight < height) return acrossBy(columns, downBy(rows, plane, width, toHeight), width, toWidth, toHeight);
  return downBy(rows, acrossBy(columns, plane, width, toWidth, height), toWidth, toHeight);
}

function acrossBy({ taps, index, share }, plane, width, toWidth, height) {
  const result = new Float32Array(toWidth * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0, j = 0; x < toWidth; x++) {
      let sum = 0;
      for (const end = j + taps; j < end; j++) sum += share[j] * plane[y * width + index[j]];
      result[y * toWidth + x] = sum;
    }
  }
  return result;
}

function downBy({ taps, index, share }, plane, width, toHeight) {
  const result = new Float32Array(width * toHeight);
  for (let y = 0, j = 0; y < toHeight; y++) {
    for (const end = j + taps; j < end; j++) {
      const part = share[j];
      if (part === 0) continue;
      const from = index[j] * width;
      for (let x = 0, to = y * width; x < width; x++) result[to + x] += part * plane[from + x];
    }
  }
  return result;
}

// The mean over the part of the line that a pixel of the smaller line covers.
export function area(from, to) {
  const scale = from / to;
  return weights(from, to, Math.ceil(scale) + 1, (i) => Math.floor(i * scale + 1e-9), (i, at) =>
    Math.max(Math.min((i + 1) * scale, at + 1) - Math.max(i * scale, at), 0) / scale);
}

export function linear(from, to) {
  const centre = (i) => (i + 0.5) * (from / to) - 0.5;
  return weights(from, to, 2, (i) => Math.floor(centre(i)), (i, at) => 1 - Math.abs(centre(i) - at));
}

export function cubic(from, to) {
  const centre = (i) => (i + 0.5) * (from / to) - 0.5;
  return weights(from, to, 4, (i) => Math.floor(centre(i)) - 1, (i, at) => {
    const d = Math.abs(centre(i) - at);
    return d < 1 ? (1.25 * d - 2.25) * d * d + 1 : d < 2 ? ((-0.75 * d + 3.75) * d - 6) * d + 3 : 0;
  });
}

function weights(from, to, taps, first, weight) {
  const [index, share] = [new Int32Array(taps * to), new Float64Array(taps * to)];
  for (let i = 0; i < to; i++) {
    for (let j = 0; j < taps; j++) {
      const at = first(i) + j;
      index[i * taps + j] = Math.min(Math.max(at, 0), from - 1);
      share[i * taps + j] = weight(i, at);
    }
  }
  return { taps, index, share };
}

// The distance in pixels of each pixel of ``hole`` from the rest of the plane, and from its border, by steps to the eight
// neighbours.
export function distances(hole, width, height) {
  const [straight, slanted, stride] = [0.955, 1.3693, width + 2];
  const far = new Float32Array(stride * (height + 2));
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) if (hole[y * width + x]) far[(y + 1) * stride + x + 1] = 1e9;
  const near = (at, step) => {
    const beside = Math.min(far[at + step], far[at + step * stride]) + straight;
    const across = Math.min(far[at + step * (stride - 1)], far[at + step * (stride + 1)]) + slanted;
    far[at] = Math.min(far[at], beside, across);
  };
  for (let at = stride + 1; at < stride * (height + 1); at++) if (far[at]) near(at, -1);
  for (let at = stride * (height + 1) - 2; at > stride; at--) if (far[at]) near(at, 1);
  return crop(far, stride, 1, 1, width, height);
}

export function crop(plane, stride, left, top, width, height) {
  const result = new plane.constructor(width * height);
  for (let y = 0; y < height; y++) {
    const start = (top + y) * stride + left;
    result.set(plane.subarray(start, start + width), y * width);
  }
  return result;
}

// ``f`` of each number, as another kind of array.
export function converted(plane, Kind, f) {
  const result = new Kind(plane.length);
  for (let i = 0; i < plane.length; i++) result[i] = f(plane[i]);
  return result;
}

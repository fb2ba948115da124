// PatchMatch in integers, as lama/detail/patchmatch.cpp, which gives the same matches; then the rounds of a level, as search.py.
//
// A level has arrays (height, width) and (height, width, 3) with a mirrored frame of ``radius`` pixels, as lama/detail/level.py
// describes. Integers below 2 ** 53 are exact in JavaScript's numbers; costs are far below it.

const NEVER = Infinity;
const JUMPS = [1, 3]; // pixels to the neighbours whose matches are tried
const TRIES = 16; // random sources that a centre without a match looks at
const SPREAD = 0.3; // of the vote: a cost of so many 75th percentiles counts 1 / e as much as none
const [WEIGHT, FALL] = [2 ** 20, 2 ** 10]; // the weight 1 of a centre, and of a pixel of its patch, in integers
const CHUNK = 2 ** 18; // centres between two counts of uses
export const UNIT = 32; // steps of a unit of Lab

// Round to the nearest integer, halves to the even one.
export const rint = (value) => value + 6755399441055744 - 6755399441055744;

export function mix(x) {
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return (x ^ (x >>> 16)) >>> 0;
}

// The cost of source q for centre number i at p; stops early, with a cost not below it, at ``limit``.
function costOf(level, i, p, q, limit) {
  const { detail, low, width, radius } = level;
  const dy = ((p / width) | 0) - ((q / width) | 0);
  const dx = (p % width) - (q % width);
  const right = 3 * radius;
  const down = right * width;
  let colour = 0;
  let slope = 0;
  for (let a = 3 * p, b = 3 * q, end = a + 3; a < end; a++, b++) {
    const d = low[a] - low[b];
    const x = low[a + right] - low[a - right] - low[b + right] + low[b - right];
    const y = low[a + down] - low[a - down] - low[b + down] + low[b - down];
    colour += d * d;
    slope += x * x + y * y;
  }
  let sum = Math.floor(level.locality[i] * Math.sqrt(dy * dy + dx * dx)) + level.guide * colour + level.slope * slope;
  const length = 3 * (2 * radius + 1);
  let a = 3 * (p - radius * width - radius);
  let b = 3 * (q - radius * width - radius);
  for (let y = -radius; y <= radius && sum < limit; y++, a += 3 * width, b += 3 * width) {
    let row = 0;
    for (let j = 0; j < length; j++) {
      const d = detail[a + j] - detail[b + j];
      row = (row + Math.imul(d, d)) | 0;
    }
    sum += row;
  }
  return sum;
}

// Costs of ``candidates``, one for each centre; -1 is none and costs the most there is.
export function costs(level, candidates) {
  const result = new Float64Array(candidates.length);
  for (let i = 0; i < candidates.length; i++) {
    result[i] = candidates[i] < 0 ? NEVER : costOf(level, i, level.centres[i], candidates[i], NEVER);
  }
  return result;
}

// Half a sweep: better matches for the centres from ``first`` to ``stop``, all of one colour of the chessboard.
export function improve(level, first, stop, jumps, reach, seed) {
  const { width, centres, match, used } = level;
  const before = new Int32Array(stop - first);
  for (let i = first; i < stop; i++) {
    before[i - first] = match[centres[i]];
    match[centres[i]] = improved(level, i, jumps, reach, seed);
  }
  for (let i = first; i < stop; i++) {
    used[before[i - first]]--;
    used[match[centres[i]]]++;
  }
}

// The best source for centre number i: its neighbours' matches, moved along, then random ones around its own.
function improved(level, i, jumps, reach, seed) {
  const { width, height, centres, match, used, source, cost, reuse } = level;
  const p = centres[i];
  const y = (p / width) | 0;
  const x = p % width;
  const own = mix(seed ^ mix(p));
  let m = match[p];
  let best = cost[i] + reuse * (used[m] - 1);
  for (let step = 0, draw = 0, r = reach, v = 0, u = 0; ; step++) {
    if (step < 4 * jumps.length) {
      const distance = jumps[step >> 2];
      const side = step & 3; // above, left, right, below
      const dy = side === 0 ? -distance : side === 3 ? distance : 0;
      const dx = side === 1 ? -distance : side === 2 ? distance : 0;
      if (y + dy < 0 || y + dy >= height || x + dx < 0 || x + dx >= width) continue;
      const other = match[p + dy * width + dx];
      if (other < 0) continue;
      v = ((other / width) | 0) - dy;
      u = (other % width) - dx;
    } else {
      if (r < 1) return m;
      v = ((m / width) | 0) + (mix((own + ++draw) | 0) % (2 * r + 1)) - r;
      u = (m % width) + (mix((own + ++draw) | 0) % (2 * r + 1)) - r;
      r >>= 1;
    }
    if (v < 0 || v >= height || u < 0 || u >= width) continue;
    const q = v * width + u;
    if (q === m || !source[q]) continue;
    const use = reuse * used[q];
    const found = costOf(level, i, p, q, best - use);
    if (found >= best - use) continue;
    best = found + use;
    cost[i] = found;
    m = q;
  }
}

// Write the hole's detail: the mean of the patches there, weighted by (H, W) ``weight`` x (P, P) ``fall``; ``energy`` gets
// the mean of its square, summed over channels.
export function vote(level, weight, fall) {
  const { width, radius, detail, match, pixels, energy } = level;
  const [side, written] = [2 * radius + 1, new Float64Array(4)];
  for (const a of pixels) {
    let total = 0;
    written.fill(0);
    for (let y = -radius; y <= radius; y++) {
      for (let x = -radius; x <= radius; x++) {
        const p = a - y * width - x;
        const share = fall[(y + radius) * side + x + radius] * weight[p];
        if (!share) continue;
        const e = 3 * (match[p] + y * width + x);
        const first = detail[e];
        const second = detail[e + 1];
        const third = detail[e + 2];
        total += share;
        written[0] += share * first;
        written[1] += share * second;
        written[2] += share * third;
        written[3] += share * (first * first + second * second + third * third);
      }
    }
    if (!total) continue;
    for (let c = 0; c < 3; c++) detail[3 * a + c] = rint(written[c] / total);
    energy[a] = rint(written[3] / total);
  }
}

// Search and vote, in place. ``sharp``: standard deviation in pixels of the last vote around a patch's middle.
export function search(level, { rounds, sweeps, reach }, sharp, seed) {
  const { centres, boundary, match, height, width } = level;
  const random = stream(seed);
  const fresh = centres.every((p) => match[p] < 0);
  begin(level, random);
  if (!fresh) weighAndVote(level, level.radius); // the coarser level's matches, seen at this one
  for (let turn = 0; turn < rounds; turn++) {
    measure(level);
    for (let sweep = 0; sweep < sweeps; sweep++) {
      for (const [first, stop] of [[0, boundary], [boundary, centres.length]]) {
        const draw = random();
        for (let start = first; start < stop; start += CHUNK) {
          improve(level, start, Math.min(start + CHUNK, stop), JUMPS, reach ?? Math.max(height, width), draw);
        }
      }
    }
    weighAndVote(level, turn === rounds - 1 ? sharp : level.radius);
  }
}

// Random integers from 0 to 2 ** 32 - 1.
function stream(seed) {
  let state = mix(seed);
  return () => mix(state = (state + 0x9e3779b9) | 0);
}

// A source for every centre: the given one, or the best of some random ones.
function begin(level, random) {
  const { centres, match, source, used } = level;
  const candidates = source.reduce((found, value, q) => { if (value) found.push(q); return found; }, []);
  for (let i = 0; i < centres.length; i++) {
    const p = centres[i];
    if (match[p] >= 0 && source[match[p]]) continue;
    for (let attempt = 0, best = NEVER; attempt < TRIES; attempt++) {
      const q = candidates[random() % candidates.length];
      const found = costOf(level, i, p, q, best);
      if (found < best) [best, match[p]] = [found, q];
    }
  }
  for (const p of centres) used[match[p]]++;
  measure(level);
}

// Costs of the present matches under the present detail.
function measure(level) {
  level.cost = costs(level, level.centres.map((p) => level.match[p]));
}

// Every patch votes for the hole's pixels that it covers, by a Gaussian of ``width`` pixels around its middle.
function weighAndVote(level, width) {
  const { centres, cost, reuse, used, match, trust, radius } = level;
  const all = cost.map((value, i) => value + reuse * (used[match[centres[i]]] - 1));
  const quartile = all.slice().sort()[Math.floor((3 * all.length) / 4)];
  const scale = SPREAD * Math.max(quartile, UNIT ** 2 * (2 * radius + 1) ** 2 / 1000);
  const weight = new Int32Array(match.length);
  for (let i = 0; i < centres.length; i++) {
    weight[centres[i]] = Math.max(rint(Math.max(Math.exp(-all[i] / scale), 1e-6) * trust[i] * WEIGHT), 1);
  }
  const steps = Array.from({ length: 2 * radius + 1 }, (_, i) => (i - radius) ** 2);
  const fall = Int32Array.from(steps.flatMap((y) => steps.map((x) => rint(FALL * Math.exp(-(y + x) / (2 * width ** 2))))));
  vote(level, weight, fall);
  mirror(level.detail, level.width, level.height, radius);
}

// Fill the frame of (H, W, 3) anew from what lies inside it.
function mirror(detail, width, height, radius) {
  const inner = (i, n) => i < radius ? 2 * radius - i : i >= n - radius ? 2 * (n - radius - 1) - i : i;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [from, to] = [3 * (inner(y, height) * width + inner(x, width)), 3 * (y * width + x)];
      if (from !== to) detail.copyWithin(to, from, from + 3);
    }
  }
}

// Windows around the holes of a mask, as lama/windows.py finds them: near holes share a window.

const CELLS = 64; // holes are separated on a grid of so many cells a side
const CONTEXT = 128; // pixels, the least margin around a hole; else half of its longer side
const MOST = 6e6; // pixels of a window that texture is taken from, unless the hole's own box and CONTEXT are larger
const MOST_AT_ONCE = 12e6; // pixels of a hole's box there: a larger one is cut in two

// The pieces of ``hole`` (0 or 1, row by row): windows {top, bottom, left, right} with their context, ends excluded, and
// the pixels that are taken from each, as a function (row, column) -> boolean. Together they are the hole. ``box`` is the box
// of these pixels.
export function holePieces(hole, width, height, context = around) {
  const cell = Math.ceil(Math.max(width, height) / CELLS);
  const columns = Math.ceil(width / cell);
  const { labels, boxes } = label(hole, width, height, cell, columns);
  return join(boxes, (box) => context(box, width, height)).map(({ box, members }) => ({
    ...context(box, width, height), box,
    take: (y, x) => hole[y * width + x] === 1 && members.has(labels[Math.floor(y / cell) * columns + Math.floor(x / cell)]),
  }));
}

// Each cell's number, 0 without a hole, equal for cells that touch; and the box of each number's pixels.
function label(hole, width, height, cell, columns) {
  const rows = Math.ceil(height / cell);
  const boxes = new Map();
  const tight = new Array(rows * columns).fill(null);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!hole[y * width + x]) continue;
      const at = Math.floor(y / cell) * columns + Math.floor(x / cell);
      tight[at] = union(tight[at], { top: y, bottom: y + 1, left: x, right: x + 1 });
    }
  }
  const labels = new Int32Array(rows * columns);
  for (let start = 0, number = 0; start < labels.length; start++) {
    if (!tight[start] || labels[start]) continue;
    number++;
    labels[start] = number;
    for (const waiting = [start]; waiting.length;) {
      const at = waiting.pop();
      boxes.set(number, union(boxes.get(number), tight[at]));
      for (const next of neighbours(at, rows, columns)) {
        if (tight[next] && !labels[next]) {
          labels[next] = number;
          waiting.push(next);
        }
      }
    }
  }
  return { labels, boxes };
}

function* neighbours(at, rows, columns) {
  const [row, column] = [Math.floor(at / columns), at % columns];
  for (let y = Math.max(row - 1, 0); y <= Math.min(row + 1, rows - 1); y++) {
    for (let x = Math.max(column - 1, 0); x <= Math.min(column + 1, columns - 1); x++) yield y * columns + x;
  }
}

// Boxes are joined if the window of both has no more pixels than their two windows.
function join(boxes, context) {
  const waiting = [...boxes].map(([number, box]) => ({ box, members: new Set([number]) }));
  const groups = [];
  while (waiting.length) {
    const { box, members } = waiting.pop();
    const near = groups.findIndex((other) => size(context(union(box, other.box))) <= size(context(box)) + size(context(other.box)));
    if (near < 0) groups.push({ box, members });
    else {
      const [other] = groups.splice(near, 1);
      waiting.push({ box: union(box, other.box), members: new Set([...members, ...other.members]) });
    }
  }
  return groups;
}

// The pieces with the known pixels that texture is taken from, as lama/detail/windows.py: largest windows first.
export function texturePieces(hole, width, height) {
  const pieces = holePieces(hole, width, height, far).flatMap((piece) => parts(piece, width, height));
  return pieces.sort((a, b) => size(b) - size(a));
}

// The piece; several parts of it if its box is very large.
function parts({ box, take }, width, height) {
  if (size(box) <= MOST_AT_ONCE) return [{ ...far(box, width, height), box, take }];
  const tall = box.bottom - box.top >= box.right - box.left;
  const middle = tall ? Math.floor((box.top + box.bottom) / 2) : Math.floor((box.left + box.right) / 2);
  const halves = [(y, x) => (tall ? y : x) < middle && take(y, x), (y, x) => (tall ? y : x) >= middle && take(y, x)];
  return halves.flatMap((half) => parts({ box: tight(box, half), take: half }, width, height));
}

// The box of the pixels that are taken within ``box``.
function tight(box, take) {
  let found = null;
  for (let y = box.top; y < box.bottom; y++) {
    for (let x = box.left; x < box.right; x++) {
      if (take(y, x)) found = union(found, { top: y, bottom: y + 1, left: x, right: x + 1 });
    }
  }
  return found;
}

const size = ({ top, bottom, left, right }) => (bottom - top) * (right - left);

function around(box, width, height) {
  return widened(box, Math.max(CONTEXT, Math.floor(Math.max(box.bottom - box.top, box.right - box.left) / 2)), width, height);
}

// A hole's longer side, less where the window would be too large.
function far(box, width, height) {
  for (let by = Math.max(CONTEXT, box.bottom - box.top, box.right - box.left); ; by = Math.max(Math.floor((3 * by) / 4), CONTEXT)) {
    const window = widened(box, by, width, height);
    if (size(window) <= MOST || by <= CONTEXT) return window;
  }
}

function widened({ top, bottom, left, right }, by, width, height) {
  return {
    top: Math.max(top - by, 0), bottom: Math.min(bottom + by, height),
    left: Math.max(left - by, 0), right: Math.min(right + by, width),
  };
}

function union(a, b) {
  if (!a) return { ...b };
  return {
    top: Math.min(a.top, b.top), bottom: Math.max(a.bottom, b.bottom),
    left: Math.min(a.left, b.left), right: Math.max(a.right, b.right),
  };
}

// Windows around the holes of a mask, as lama/windows.py finds them: near holes share a window.

const CELLS = 64; // holes are separated on a grid of so many cells a side
const CONTEXT = 128; // pixels, the least margin around a hole; else half of its longer side

// The pieces of ``hole`` (0 or 1, row by row): windows {top, bottom, left, right} with their context, ends excluded, and
// the pixels that are taken from each, as a function (row, column) -> boolean. Together they are the hole.
export function holePieces(hole, width, height) {
  const cell = Math.ceil(Math.max(width, height) / CELLS);
  const columns = Math.ceil(width / cell);
  const { labels, boxes } = label(hole, width, height, cell, columns);
  return join(boxes, (box) => around(box, width, height)).map(({ box, members }) => ({
    ...around(box, width, height),
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
  const area = ({ top, bottom, left, right }) => (bottom - top) * (right - left);
  while (waiting.length) {
    const { box, members } = waiting.pop();
    const near = groups.findIndex((other) => area(context(union(box, other.box))) <= area(context(box)) + area(context(other.box)));
    if (near < 0) groups.push({ box, members });
    else {
      const [other] = groups.splice(near, 1);
      waiting.push({ box: union(box, other.box), members: new Set([...members, ...other.members]) });
    }
  }
  return groups;
}

function around({ top, bottom, left, right }, width, height) {
  const by = Math.max(CONTEXT, Math.floor(Math.max(bottom - top, right - left) / 2));
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

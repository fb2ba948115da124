// The mask as a list of operations, each of which can be undone.

const PINK = "#ec4899";
const MOST_UNDONE = 500;

export class Mask {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { willReadFrequently: true });
    this.done = [];
    this.undone = [];
  }

  reset(width, height) {
    this.canvas.width = width;
    this.canvas.height = height;
    this.done = [];
    this.undone = [];
  }

  get isEmpty() {
    const { width, height } = this.canvas;
    if (!this.done.length || !width) return true;
    const data = this.context.getImageData(0, 0, width, height).data;
    for (let i = 3; i < data.length; i += 4) if (data[i] > 127) return false;
    return true;
  }

  // An operation is {kind: "stroke", erase, size, points}, {kind: "rectangle", x, y, width, height},
  // {kind: "image", image} or {kind: "clear"}.
  add(operation) {
    this.done.push(operation);
    this.undone = [];
    this.#draw(operation);
    if (this.done.length > MOST_UNDONE) this.#forget();
  }

  // Extend the last stroke.
  extend(point) {
    const stroke = this.done.at(-1);
    stroke.points.push(point);
    this.#draw({ ...stroke, points: stroke.points.slice(-2) });
  }

  // Drop the last stroke.
  drop() {
    this.done.pop();
    this.#redraw();
  }

  undo() {
    if (!this.done.length) return false;
    this.undone.push(this.done.pop());
    this.#redraw();
    return true;
  }

  redo() {
    if (!this.undone.length) return false;
    this.done.push(this.undone.pop());
    this.#redraw();
    return true;
  }

  // A PNG of that size: painted pixels white, others black.
  export(width = this.canvas.width, height = this.canvas.height) {
    const out = new OffscreenCanvas(width, height);
    const context = out.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(this.canvas, 0, 0, width, height);
    context.globalCompositeOperation = "source-in";
    context.fillStyle = "#fff";
    context.fillRect(0, 0, width, height);
    context.globalCompositeOperation = "destination-over";
    context.fillStyle = "#000";
    context.fillRect(0, 0, width, height);
    return out.convertToBlob({ type: "image/png" });
  }

  // Pink where the preview of a mask (white on black) is white, at the size of the image.
  static read(image, width, height) {
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.imageSmoothingEnabled = false;
    context.drawImage(image, 0, 0, width, height);
    const pixels = context.getImageData(0, 0, width, height);
    const [r, g, b] = [0xec, 0x48, 0x99];
    for (let i = 0; i < pixels.data.length; i += 4) {
      const d = pixels.data;
      const white = d[i] > 127;
      [d[i], d[i + 1], d[i + 2], d[i + 3]] = [r, g, b, white ? 255 : 0];
    }
    context.putImageData(pixels, 0, 0);
    return canvas;
  }

  #redraw() {
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.done.forEach((operation) => this.#draw(operation));
  }

  #draw(operation) {
    const c = this.context;
    c.globalCompositeOperation = operation.erase ? "destination-out" : "source-over";
    c.fillStyle = c.strokeStyle = PINK;
    if (operation.kind === "clear") c.clearRect(0, 0, this.canvas.width, this.canvas.height);
    else if (operation.kind === "image") c.drawImage(operation.image, 0, 0);
    else if (operation.kind === "rectangle") c.fillRect(operation.x, operation.y, operation.width, operation.height);
    else {
      c.lineWidth = operation.size;
      c.lineCap = c.lineJoin = "round";
      c.beginPath();
      const [first, ...rest] = operation.points;
      c.moveTo(first.x, first.y);
      if (!rest.length) c.lineTo(first.x, first.y + 0.01);
      rest.forEach((p) => c.lineTo(p.x, p.y));
      c.stroke();
    }
  }

  // Merge the oldest operations into an image.
  #forget() {
    const rest = this.done.splice(MOST_UNDONE / 2);
    this.#redraw();
    const image = new OffscreenCanvas(this.canvas.width, this.canvas.height);
    image.getContext("2d").drawImage(this.canvas, 0, 0);
    this.done = [{ kind: "image", image }, ...rest];
    this.#redraw();
  }
}

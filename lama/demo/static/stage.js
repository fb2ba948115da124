// The image area: zoom, painting with mouse, pen, touch and keys, and the line between before and after.

import { Mask } from "./mask.js";

const $ = (id) => document.getElementById(id);
const SEEN = 48; // pixels of the image that always stay visible
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

export class Stage {
  constructor(changed) {
    this.root = $("stage");
    this.after = $("after");
    this.before = $("before");
    this.mask = new Mask($("mask"));
    this.changed = changed; // called when the mask changes
    this.tool = "brush";
    this.size = 40;
    this.comparing = false;
    this.view = { scale: 1, x: 0, y: 0 };
    this.fitted = false; // the image is fitted to the window
    this.pointers = new Map();
    this.keys = null; // position of the brush of the arrow keys
    this.#listen();
  }

  // Show an image; ``painted`` are operations of its mask.
  show(image, painted = []) {
    const { naturalWidth: width, naturalHeight: height } = image;
    const other = this.after.width !== width || this.after.height !== height;
    for (const canvas of [this.after, this.before]) {
      canvas.width = width;
      canvas.height = height;
    }
    this.after.getContext("2d").drawImage(image, 0, 0);
    this.mask.reset(width, height);
    painted.forEach((operation) => this.mask.add(operation));
    if (other) this.fit();
    this.changed();
  }

  // The image to the left of the line.
  showBefore(image) {
    const context = this.before.getContext("2d");
    context.clearRect(0, 0, this.before.width, this.before.height);
    context.drawImage(image, 0, 0);
  }

  compare(on, left = "", right = "") {
    this.comparing = on;
    $("mask").hidden = on;
    this.before.hidden = !on;
    for (const id of ["divider", "labels"]) $(id).hidden = !on;
    $("split").style.visibility = on ? "visible" : "hidden"; // keeps its space, so the image does not move
    $("label-left").textContent = left;
    $("label-right").textContent = right;
    this.#hideCursor();
    this.#split(0.5);
  }

  fit() {
    const { clientWidth, clientHeight } = this.root;
    const scale = Math.min((clientWidth - 24) / this.after.width, (clientHeight - 24) / this.after.height, 4);
    this.fitted = true;
    this.view = { scale, x: (clientWidth - this.after.width * scale) / 2, y: (clientHeight - this.after.height * scale) / 2 };
    this.#place();
  }

  zoom(factor, x = this.root.clientWidth / 2, y = this.root.clientHeight / 2) {
    const { view } = this;
    const scale = clamp(view.scale * factor, 0.02, 40);
    this.fitted = false;
    this.view = { scale, x: x - ((x - view.x) * scale) / view.scale, y: y - ((y - view.y) * scale) / view.scale };
    this.#place();
  }

  setTool(tool) {
    this.tool = tool;
    this.root.style.cursor = tool === "hand" ? "grab" : "crosshair";
    this.#hideCursor();
  }

  #place() {
    const { root, after, view } = this;
    view.x = clamp(view.x, SEEN - after.width * view.scale, root.clientWidth - SEEN);
    view.y = clamp(view.y, SEEN - after.height * view.scale, root.clientHeight - SEEN);
    const { scale, x, y } = view;
    $("world").style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
    $("world").style.imageRendering = scale > 3 ? "pixelated" : "auto";
    if (this.comparing) this.#split(this.share);
    if (this.keys) this.#showCursor(this.#onStage(this.keys));
  }

  // Show the image before in the left ``share`` of the width, the image after in the rest.
  #split(share) {
    this.share = share;
    $("split").value = share * 100;
    this.before.style.clipPath = `inset(0 ${(1 - share) * 100}% 0 0)`;
    $("divider").style.left = `${this.view.x + share * this.after.width * this.view.scale}px`;
  }

  #onImage(event) {
    const box = this.root.getBoundingClientRect();
    return {
      x: (event.clientX - box.left - this.view.x) / this.view.scale,
      y: (event.clientY - box.top - this.view.y) / this.view.scale,
    };
  }

  #onStage(point) {
    return { x: this.view.x + point.x * this.view.scale, y: this.view.y + point.y * this.view.scale };
  }

  #showCursor({ x, y }) {
    const cursor = $("cursor");
    const paints = !this.comparing && (this.tool === "brush" || this.tool === "eraser");
    cursor.style.display = paints ? "block" : "none";
    cursor.style.width = cursor.style.height = `${Math.max(this.size * this.view.scale, 4)}px`;
    cursor.style.left = `${x}px`;
    cursor.style.top = `${y}px`;
  }

  #hideCursor() {
    $("cursor").style.display = "none";
    this.keys = null;
  }

  resizeBrush(size) {
    this.size = size;
    if (this.keys) this.#showCursor(this.#onStage(this.keys));
  }

  #listen() {
    const { root } = this;
    root.addEventListener("pointerdown", (event) => this.#down(event));
    root.addEventListener("pointermove", (event) => this.#move(event));
    for (const name of ["pointerup", "pointercancel"]) root.addEventListener(name, (event) => this.#up(event));
    root.addEventListener("pointerleave", () => { if (!this.pointers.size) this.#hideCursor(); });
    root.addEventListener("contextmenu", (event) => event.preventDefault());
    root.addEventListener("wheel", (event) => {
      event.preventDefault();
      const box = root.getBoundingClientRect();
      this.zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0016)), event.clientX - box.left, event.clientY - box.top);
    }, { passive: false });
    root.addEventListener("keydown", (event) => this.#key(event));
    $("split").addEventListener("input", (event) => this.#split(event.target.value / 100));
    let [width, height] = [root.clientWidth, root.clientHeight];
    new ResizeObserver(() => {
      if (this.fitted) this.fit();
      else if (this.after.width && root.clientWidth && width) this.#pan((root.clientWidth - width) / 2, (root.clientHeight - height) / 2); // keep the centre
      [width, height] = [root.clientWidth, root.clientHeight];
    }).observe(root);
  }

  #down(event) {
    this.root.focus({ preventScroll: true });
    this.root.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    this.keys = null;
    if (this.pointers.size === 2) return this.#pinch();
    if (this.pointers.size > 2) return;
    const point = this.#onImage(event);
    if (this.tool === "hand" || event.button === 1) this.action = { kind: "pan" };
    else if (event.button !== 0) return;
    else if (this.comparing) {
      this.action = { kind: "split" };
      this.#split(clamp(point.x / this.after.width, 0, 1));
    } else if (this.tool === "rectangle") this.action = { kind: "rectangle", from: point };
    else {
      this.action = { kind: "stroke" };
      this.mask.add({ kind: "stroke", erase: this.tool === "eraser", size: this.size, points: [point] });
    }
  }

  // A second finger starts a zoom; drop the stroke of the first.
  #pinch() {
    if (this.action?.kind === "stroke") this.mask.drop();
    $("box").style.display = "none";
    this.action = { kind: "pinch" };
  }

  #move(event) {
    const last = this.pointers.get(event.pointerId);
    const box = this.root.getBoundingClientRect();
    if (event.pointerType !== "touch") this.#showCursor({ x: event.clientX - box.left, y: event.clientY - box.top });
    if (!last) return;
    const before = [...this.pointers.values()].map((p) => ({ ...p }));
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    const kind = this.action?.kind;
    const point = this.#onImage(event);
    if (kind === "pan") this.#pan(event.clientX - last.x, event.clientY - last.y);
    else if (kind === "pinch" && before.length === 2) this.#pinched(before, [...this.pointers.values()], box);
    else if (kind === "split") this.#split(clamp(point.x / this.after.width, 0, 1));
    else if (kind === "rectangle") this.#drawBox(this.action.from, point);
    else if (kind === "stroke") {
      const passed = event.getCoalescedEvents?.() ?? [];
      for (const each of passed.length ? passed : [event]) this.mask.extend(this.#onImage(each));
    }
  }

  #pan(x, y) {
    this.fitted = false;
    this.view.x += x;
    this.view.y += y;
    this.#place();
  }

  #pinched(before, now, box) {
    const span = ([a, b]) => Math.hypot(a.x - b.x, a.y - b.y);
    const middle = ([a, b]) => ({ x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 });
    const [was, is] = [middle(before), middle(now)];
    this.#pan(is.x - was.x, is.y - was.y);
    this.zoom(span(now) / Math.max(span(before), 1), is.x - box.left, is.y - box.top);
  }

  #rectangle(a, b) {
    const inside = (p) => ({ x: clamp(Math.round(p.x), 0, this.after.width), y: clamp(Math.round(p.y), 0, this.after.height) });
    [a, b] = [inside(a), inside(b)];
    return { x: Math.min(a.x, b.x), y: Math.min(a.y, b.y), width: Math.abs(a.x - b.x), height: Math.abs(a.y - b.y) };
  }

  #drawBox(a, b) {
    const { x, y, width, height } = this.#rectangle(a, b);
    Object.assign($("box").style, { display: "block", left: `${x}px`, top: `${y}px`, width: `${width}px`, height: `${height}px` });
  }

  #up(event) {
    if (!this.pointers.delete(event.pointerId)) return;
    if (this.action?.kind === "rectangle" && event.type === "pointerup") {
      const rectangle = this.#rectangle(this.action.from, this.#onImage(event));
      if (rectangle.width && rectangle.height) this.mask.add({ kind: "rectangle", ...rectangle });
    }
    $("box").style.display = "none";
    if (this.action?.kind !== "pan" && this.action?.kind !== "split") this.changed();
    if (!this.pointers.size) this.action = null;
  }

  // Painting with keys: arrows move, space paints a line from the last painted point.
  #key(event) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const step = steps[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey || (!step && event.key !== " ")) return;
    event.preventDefault();
    if (this.comparing) {
      if (step) this.#split(clamp(this.share + step[0] * 0.02, 0, 1));
      return;
    }
    this.keys ??= { x: this.after.width / 2, y: this.after.height / 2 };
    if (step) {
      const far = event.shiftKey ? 1 : Math.max(this.size / 4, 1);
      this.keys = { x: clamp(this.keys.x + step[0] * far, 0, this.after.width), y: clamp(this.keys.y + step[1] * far, 0, this.after.height) };
    } else {
      this.mask.add({ kind: "stroke", erase: this.tool === "eraser", size: this.size, points: [{ ...this.keys }] });
      this.changed();
    }
    this.#showCursor(this.#onStage(this.keys));
  }
}

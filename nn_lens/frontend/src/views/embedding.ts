/** Pictures of the dataset laid out by what the selected layer says of them; a rectangle selects, a click shows one. */
import { el, say } from "../shared/dom";
import type { Embedding } from "../shared/protocol";
import type { Store } from "../shared/store";
import { View } from "./view";

const HEIGHT = 360;
const SIDE = 22;
/** Pixels that the pointer may move in a click. */
const CLICK = 4;

export class EmbeddingView extends View {
  private readonly canvas = el("canvas", { class: "plane", role: "img", tabindex: 0, "aria-label": "not here yet" });
  private readonly clear = el("button", { type: "button", onclick: () => this.select([]) }, "Select none");
  private readonly observer: ResizeObserver;
  private drawn = "";
  private from: [number, number] | null = null;
  private to: [number, number] | null = null;
  /** The picture that the keys have reached. */
  private cursor = -1;

  constructor(store: Store) {
    super(store, "embedding", "What this layer takes for alike");
    this.body.append(this.canvas);
    this.tools.append(this.clear);
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.from = this.to = [event.offsetX, event.offsetY];
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!this.from) return this.point(event.offsetX, event.offsetY);
      this.to = [event.offsetX, event.offsetY];
      store.changed();
    });
    canvas.addEventListener("pointerup", () => this.brushed());
    canvas.addEventListener("pointercancel", () => {
      this.from = this.to = null;
      store.changed();
    });
    canvas.addEventListener("keydown", (event) => this.key(event));
    this.observer = new ResizeObserver(() => store.changed());
    this.observer.observe(this.body);
  }

  override close(): void {
    this.observer.disconnect();
  }

  draw(): void {
    const { store } = this;
    const failure = store.failure("embedding");
    const found = store.embedding();
    this.stale(!found && !failure);
    this.empty(failure);
    this.clear.hidden = !store.selected.length;
    if (found) this.paint(found);
    this.root.dataset.shown = found ? `${found.layer} ${found.method}` : "";
    if (!failure) say(this.note, found ? this.words(found) : "reading the pictures …");
  }

  private words(found: Embedding): string {
    const count = this.store.selected.length;
    const chosen = count
      ? `; ${count} selected, in Python lens.selected`
      : "; draw a rectangle to select, click to look";
    const method = found.finished
      ? "t-SNE: neighbours are alike, distances between groups say nothing"
      : "PCA so far, t-SNE comes";
    return `${found.indices.length} pictures by ${method}${chosen}`;
  }

  private paint(found: Embedding): void {
    const width = this.body.clientWidth;
    const key = [width, found.method, found.layer, this.store.weights, this.store.selected, this.from, this.to];
    const state = `${key} ${this.cursor}`;
    if (!width || state === this.drawn) return;
    this.drawn = state;
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(HEIGHT * ratio);
    this.canvas.style.height = `${HEIGHT}px`;
    this.canvas.setAttribute("aria-label", found.alt);
    const context = this.canvas.getContext("2d");
    if (!context) return;
    context.scale(ratio, ratio);
    const style = getComputedStyle(this.canvas);
    const chosen = new Set(this.store.selected);
    const accent = style.getPropertyValue("--accent");
    for (let i = 0; i < found.indices.length; i++) {
      const [x, y] = this.place(found, i);
      const is = chosen.has(found.indices[i]);
      context.globalAlpha = !chosen.size || is ? 1 : 0.25;
      this.thumbnail(context, found, i, x, y, style.color);
      context.strokeStyle = accent;
      context.lineWidth = 2;
      if (is || i === this.cursor) context.strokeRect(x - SIDE / 2, y - SIDE / 2, SIDE, SIDE);
    }
    context.globalAlpha = 1;
    if (this.from && this.to) {
      const [x, y] = this.from;
      context.setLineDash([4, 3]);
      context.strokeRect(x, y, this.to[0] - x, this.to[1] - y);
    }
  }

  private thumbnail(
    context: CanvasRenderingContext2D,
    found: Embedding,
    i: number,
    x: number,
    y: number,
    ink: string,
  ): void {
    if (!found.sheet) {
      context.fillStyle = ink;
      context.fillRect(x - 2, y - 2, 4, 4);
      return;
    }
    const { columns, width, height, sheet } = found;
    const [left, top] = [(i % columns) * width, Math.floor(i / columns) * height];
    context.drawImage(sheet, left, top, width, height, x - SIDE / 2, y - SIDE / 2, SIDE, SIDE);
  }

  /** Where a picture's middle is, in pixels. */
  private place(found: Embedding, i: number): [number, number] {
    const width = this.body.clientWidth - SIDE - 4;
    return [
      SIDE / 2 + 2 + found.points[2 * i] * width,
      SIDE / 2 + 2 + (1 - found.points[2 * i + 1]) * (HEIGHT - SIDE - 4),
    ];
  }

  /** The picture at a place, the one on top; -1 where there is none. */
  private at(x: number, y: number): number {
    const found = this.store.embedding();
    for (let i = (found?.indices.length ?? 0) - 1; found && i >= 0; i--) {
      const [px, py] = this.place(found, i);
      if (Math.abs(px - x) <= SIDE / 2 && Math.abs(py - y) <= SIDE / 2) return i;
    }
    return -1;
  }

  private point(x: number, y: number): void {
    const i = this.at(x, y);
    this.canvas.title = i < 0 ? "" : `picture ${this.store.embedding()?.indices[i]}`;
  }

  private brushed(): void {
    const found = this.store.embedding();
    const [from, to] = [this.from, this.to];
    this.from = this.to = null;
    if (!found || !from || !to) return this.store.changed();
    if (Math.hypot(to[0] - from[0], to[1] - from[1]) < CLICK) {
      const i = this.at(...from);
      if (i >= 0) this.show(found, i);
      return this.store.changed();
    }
    const inside = [...found.indices].filter((_, i) => {
      const place = this.place(found, i);
      return place.every((v, axis) => v >= Math.min(from[axis], to[axis]) && v <= Math.max(from[axis], to[axis]));
    });
    this.select(inside);
  }

  private select(numbers: number[]): void {
    this.store.selected = numbers;
  }

  private show(found: Embedding, i: number): void {
    this.cursor = i;
    this.store.chooseFromDataset(found.indices[i]);
  }

  /** Left and right go from picture to picture, space selects, Enter shows. */
  private key(event: KeyboardEvent): void {
    const found = this.store.embedding();
    if (!found) return;
    const order = [...found.indices.keys()].sort((a, b) => found.points[2 * a] - found.points[2 * b]);
    const now = order.indexOf(this.cursor);
    if (event.key === "ArrowRight") this.cursor = order[Math.min(now + 1, order.length - 1)];
    else if (event.key === "ArrowLeft") this.cursor = order[Math.max(now - 1, 0)];
    else if (event.key === " " && this.cursor >= 0) this.toggle(found.indices[this.cursor]);
    else if (event.key === "Enter" && this.cursor >= 0) this.show(found, this.cursor);
    else return;
    event.preventDefault();
    event.stopPropagation();
    this.store.changed();
  }

  private toggle(number: number): void {
    const { selected } = this.store;
    this.select(selected.includes(number) ? selected.filter((n) => n !== number) : [...selected, number]);
  }
}

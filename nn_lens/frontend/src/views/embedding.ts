/** Pictures of the dataset laid out by what the selected layer says of them; a rectangle selects, a click shows one. */
import { el } from "../drawing/dom";
import { bitmap } from "../drawing/sheet";
import { floats, type Message } from "../panel/protocol";
import type { Store } from "../panel/store";
import { AnswerView } from "./view";

/** Pictures of the dataset laid out by what a layer says of them. */
export interface Embedding {
  layer: string;
  method: string;
  /** Thumbnails in a row of the sheet, 0 without one. */
  columns: number;
  height: number;
  width: number;
  skipped: number;
  alt: string;
  finished: boolean;
  /** x, y of each from 0 to 1. */
  points: Float32Array;
  /** Their numbers in the dataset. */
  indices: Int32Array;
  sheet: ImageBitmap | null;
}

export async function decodeEmbedding(head: Message, [points, indices, sheet]: DataView[]): Promise<Embedding> {
  const numbers = { points: floats(points), indices: new Int32Array(floats(indices).buffer) };
  return { ...(head as unknown as Embedding), ...numbers, sheet: await bitmap(sheet) };
}

const HEIGHT = 360;
const SIDE = 22;
/** Pixels that the pointer may move in a click. */
const CLICK = 4;

export class EmbeddingView extends AnswerView<"embedding"> {
  private readonly canvas = el("canvas", { class: "plane", role: "img", tabindex: 0, "aria-label": "not here yet" });
  private readonly clear = el("button", { type: "button", onclick: () => this.select([]) }, "Select none");
  private readonly observer: ResizeObserver;
  private drawn = "";
  private from: [number, number] | null = null;
  private to: [number, number] | null = null;
  /** The picture that the keys have reached. */
  private cursor = -1;

  constructor(store: Store) {
    super(store, "embedding", "embedding");
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

  override draw(): void {
    super.draw();
    this.clear.hidden = !this.store.look.brushed.length;
    // It changes with the brush, the keys and the width too.
    const embedding = this.store.answer("embedding");
    if (embedding) this.paint(embedding);
  }

  protected shown({ layer, method }: Embedding): string {
    return `${layer} ${method}`;
  }

  protected waiting(): string {
    return "reading up to 400 pictures …";
  }

  protected tell(embedding: Embedding): string {
    const count = this.store.look.brushed.length;
    const chosen = count
      ? `; ${count} selected, in Python lens.selected`
      : "; draw a rectangle to select, click to look";
    const method = embedding.finished
      ? "t-SNE: neighbours are alike, distances between groups say nothing"
      : "PCA so far, t-SNE comes";
    return `${embedding.indices.length} pictures by ${method}${chosen}`;
  }

  protected paint(embedding: Embedding): void {
    const width = this.body.clientWidth;
    const key = [
      width,
      embedding.method,
      embedding.layer,
      this.store.moments.weights,
      this.store.look.brushed,
      this.from,
      this.to,
    ];
    const state = `${key} ${this.cursor}`;
    if (!width || state === this.drawn) return;
    this.drawn = state;
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(HEIGHT * ratio);
    this.canvas.style.height = `${HEIGHT}px`;
    this.canvas.setAttribute("aria-label", this.words(embedding.alt));
    const context = this.canvas.getContext("2d");
    if (!context) return;
    context.scale(ratio, ratio);
    const style = getComputedStyle(this.canvas);
    const chosen = new Set(this.store.look.brushed);
    const accent = style.getPropertyValue("--accent");
    for (let i = 0; i < embedding.indices.length; i++) {
      const [x, y] = this.place(embedding, i);
      const is = chosen.has(embedding.indices[i]);
      context.globalAlpha = !chosen.size || is ? 1 : 0.25;
      this.thumbnail(context, embedding, i, x, y, style.color);
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
    embedding: Embedding,
    i: number,
    x: number,
    y: number,
    ink: string,
  ): void {
    if (!embedding.sheet) {
      context.fillStyle = ink;
      context.fillRect(x - 2, y - 2, 4, 4);
      return;
    }
    const { columns, width, height, sheet } = embedding;
    const [left, top] = [(i % columns) * width, Math.floor(i / columns) * height];
    context.drawImage(sheet, left, top, width, height, x - SIDE / 2, y - SIDE / 2, SIDE, SIDE);
  }

  /** Where a picture's middle is, in pixels. */
  private place(embedding: Embedding, i: number): [number, number] {
    const width = this.body.clientWidth - SIDE - 4;
    return [
      SIDE / 2 + 2 + embedding.points[2 * i] * width,
      SIDE / 2 + 2 + (1 - embedding.points[2 * i + 1]) * (HEIGHT - SIDE - 4),
    ];
  }

  /** The picture at a place, the one on top; -1 where there is none. */
  private at(x: number, y: number): number {
    const embedding = this.store.answer("embedding");
    for (let i = (embedding?.indices.length ?? 0) - 1; embedding && i >= 0; i--) {
      const [px, py] = this.place(embedding, i);
      if (Math.abs(px - x) <= SIDE / 2 && Math.abs(py - y) <= SIDE / 2) return i;
    }
    return -1;
  }

  private point(x: number, y: number): void {
    const i = this.at(x, y);
    this.canvas.title = i < 0 ? "" : this.words(`picture ${this.store.answer("embedding")?.indices[i]}`);
  }

  /** The pointer has drawn a rectangle, or clicked. */
  private brushed(): void {
    const embedding = this.store.answer("embedding");
    const [from, to] = [this.from, this.to];
    this.from = this.to = null;
    this.store.changed();
    if (!embedding || !from || !to) return;
    if (Math.hypot(to[0] - from[0], to[1] - from[1]) < CLICK) {
      const i = this.at(...from);
      if (i >= 0) this.show(embedding, i);
      return;
    }
    const inside = [...embedding.indices].filter((_, i) => {
      const place = this.place(embedding, i);
      return place.every((v, axis) => v >= Math.min(from[axis], to[axis]) && v <= Math.max(from[axis], to[axis]));
    });
    this.select(inside);
  }

  private select(numbers: number[]): void {
    this.store.look.brushed = numbers;
  }

  private show(embedding: Embedding, i: number): void {
    this.cursor = i;
    this.store.pictures.chooseFromDataset(embedding.indices[i]);
  }

  /** Left and right go from picture to picture, space selects, Enter shows. */
  private key(event: KeyboardEvent): void {
    const embedding = this.store.answer("embedding");
    if (!embedding) return;
    const order = [...embedding.indices.keys()].sort((a, b) => embedding.points[2 * a] - embedding.points[2 * b]);
    const now = order.indexOf(this.cursor);
    if (event.key === "ArrowRight") this.cursor = order[Math.min(now + 1, order.length - 1)];
    else if (event.key === "ArrowLeft") this.cursor = order[Math.max(now - 1, 0)];
    else if (event.key === " " && this.cursor >= 0) this.toggle(embedding.indices[this.cursor]);
    else if (event.key === "Enter" && this.cursor >= 0) this.show(embedding, this.cursor);
    else return;
    event.preventDefault();
    event.stopPropagation();
    this.store.changed();
  }

  private toggle(number: number): void {
    const { brushed } = this.store.look;
    this.select(brushed.includes(number) ? brushed.filter((n) => n !== number) : [...brushed, number]);
  }
}

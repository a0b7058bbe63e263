/** Pictures of the dataset laid out by what the selected layer says of them; a rectangle selects, a click shows one. */
import { colourOf } from "../drawing/bars";
import { el } from "../drawing/dom";
import { bitmap } from "../drawing/sheet";
import { floats, type Message } from "../panel/protocol";
import type { Store } from "../panel/store";
import { phrase } from "../panel/words";
import { AnswerView } from "./view";

/** Pictures of the dataset laid out by what a layer says of them. */
export interface Embedding {
  layer: string;
  /** "" while pictures are still read: `read` of `total`. */
  method: string;
  read?: number;
  total?: number;
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
  /** How many nearest of each are known, and the places in `indices` that they have. */
  near: number;
  nearest: Int32Array;
  /** The class of each, -1 for none. */
  classes: Int32Array;
}

export async function decodeEmbedding(
  head: Message,
  [points, indices, sheet, nearest, classes]: DataView[],
): Promise<Embedding> {
  const ints = (data: DataView) => new Int32Array(floats(data).buffer);
  const numbers = { indices: ints(indices), nearest: ints(nearest), classes: ints(classes) };
  return { ...(head as unknown as Embedding), ...numbers, points: floats(points), sheet: await bitmap(sheet) };
}

const HEIGHT = 360;
const SIDE = 22;
/** Pixels of the picture that is looked at, and how many classes the legend names. */
const [LARGE, NAMED] = [84, 12];
/** Pixels that the pointer may move in a click. */
const CLICK = 4;

export class EmbeddingView extends AnswerView<"embedding"> {
  private readonly canvas = el("canvas", {
    class: "plane",
    role: "img",
    tabindex: 0,
    "aria-label": phrase("card.absent"),
  });
  private readonly clear = el("button", { type: "button", onclick: () => this.select([]) }, phrase("embedding.clear"));
  private readonly observer: ResizeObserver;
  private drawn = "";
  private from: [number, number] | null = null;
  private to: [number, number] | null = null;
  /** The picture that the keys have reached, and the one below the pointer. */
  private cursor = -1;
  private hovered = -1;
  private readonly bar = el("progress", { max: 1, hidden: true, "aria-label": this.phrase("embedding.label") });
  private readonly legend = el("p", { class: "legend" });
  private readonly neighbours = el("div", {
    class: "neighbours",
    role: "group",
    "aria-label": this.phrase("embedding.nearest"),
  });
  private listed = -2;

  constructor(store: Store) {
    super(store, "embedding", "embedding");
    this.body.append(this.canvas, this.legend, this.neighbours);
    this.canvas.addEventListener("pointerleave", () => {
      this.hovered = -1;
      store.changed();
    });
    this.tools.append(this.bar, this.clear);
    this.body.before(this.note); // how far it is has to be in sight
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
    return phrase("embedding.waiting");
  }

  protected tell(embedding: Embedding): string {
    const { method: laid, read = 0, total = 0 } = embedding;
    this.bar.hidden = laid !== "";
    this.bar.value = read / Math.max(1, total);
    if (!laid) return phrase("embedding.reading", { read, total });
    const count = this.store.look.brushed.length;
    const chosen = count ? phrase("embedding.selected", { count }) : phrase("embedding.how");
    const method = phrase(embedding.finished ? "embedding.tsne" : "embedding.pca");
    return phrase("embedding.note", { count: embedding.indices.length, method, chosen });
  }

  protected paint(embedding: Embedding): void {
    const width = embedding.method ? this.body.clientWidth : 0;
    const key = [
      width,
      embedding.method,
      embedding.layer,
      this.store.moments.weights,
      this.store.look.brushed,
      this.from,
      this.to,
    ];
    const state = `${key} ${this.cursor} ${this.hovered}`;
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
      const own = embedding.classes[i];
      context.lineWidth = 2;
      context.strokeStyle = own < 0 ? "transparent" : colourOf(own);
      if (own >= 0) context.strokeRect(x - SIDE / 2, y - SIDE / 2, SIDE, SIDE);
      context.strokeStyle = accent;
      if (is || i === this.cursor) context.strokeRect(x - SIDE / 2, y - SIDE / 2, SIDE, SIDE);
    }
    context.globalAlpha = 1;
    this.drawLooked(context, embedding, accent, style.color);
    this.drawLegend(embedding);
    if (this.from && this.to) {
      const [x, y] = this.from;
      context.setLineDash([4, 3]);
      context.strokeRect(x, y, this.to[0] - x, this.to[1] - y);
    }
  }

  /** The picture that is looked at, large, with lines to those whose codes are nearest. */
  private drawLooked(context: CanvasRenderingContext2D, embedding: Embedding, accent: string, ink: string): void {
    const at = this.hovered >= 0 ? this.hovered : this.cursor;
    this.listNeighbours(embedding, at);
    if (at < 0 || at >= embedding.indices.length) return;
    const [x, y] = this.place(embedding, at);
    context.strokeStyle = accent;
    context.lineWidth = 1;
    for (const other of this.nearestOf(embedding, at)) {
      context.beginPath();
      context.moveTo(x, y);
      context.lineTo(...this.place(embedding, other));
      context.stroke();
    }
    if (!embedding.sheet) return;
    const width = this.body.clientWidth;
    const [left, top] = [
      Math.max(LARGE / 2 + 2, Math.min(width - LARGE / 2 - 2, x)),
      Math.max(LARGE / 2 + 2, Math.min(HEIGHT - LARGE / 2 - 2, y)),
    ];
    this.thumbnail(context, embedding, at, left, top, ink, LARGE);
    context.lineWidth = 2;
    context.strokeRect(left - LARGE / 2, top - LARGE / 2, LARGE, LARGE);
  }

  private nearestOf({ nearest, near }: Embedding, at: number): number[] {
    return [...nearest.subarray(at * near, (at + 1) * near)];
  }

  /** The pictures whose codes are nearest, to be clicked. */
  private listNeighbours(embedding: Embedding, at: number): void {
    if (at === this.listed || at < 0) return; // what was looked at last stays
    this.listed = at;
    const tiles = this.nearestOf(embedding, at).map((i) => {
      const label = this.named(embedding, i);
      const canvas = el("canvas", { width: 64, height: 64, role: "img", "aria-label": label, title: label });
      const context = canvas.getContext("2d");
      if (context) this.thumbnail(context, embedding, i, 32, 32, "currentColor", 64);
      const show = () => this.show(embedding, i);
      return el("button", { type: "button", class: "tile", onclick: show }, canvas);
    });
    const name = this.named(embedding, at);
    this.neighbours.replaceChildren(
      el("span", { class: "caption" }, phrase("embedding.nearestTo", { name })),
      ...tiles,
    );
  }

  /** A picture by its number, and its class where that is known. */
  private named({ indices, classes }: Embedding, at: number): string {
    const own = classes[at];
    return this.phrase("embedding.picture", { index: indices[at] }) + (own < 0 ? "" : `, ${this.className(own)}`);
  }

  private className(own: number): string {
    return this.store.network.labels[own] ?? phrase("class", { index: own });
  }

  private drawLegend({ classes }: Embedding): void {
    const there = [...new Set(classes)].filter((own) => own >= 0).sort((a, b) => a - b);
    const text = `${there}`;
    if (this.legend.dataset.shown === text) return;
    this.legend.dataset.shown = text;
    const names = there
      .slice(0, NAMED)
      .map((own) => el("span", {}, el("i", { style: `background:${colourOf(own)}` }), this.className(own)));
    const rest = there.length > NAMED ? [phrase("embedding.more", { count: there.length - NAMED })] : [];
    this.legend.replaceChildren(...names, ...rest);
  }

  private thumbnail(
    context: CanvasRenderingContext2D,
    embedding: Embedding,
    i: number,
    x: number,
    y: number,
    ink: string,
    side: number = SIDE,
  ): void {
    if (!embedding.sheet) {
      context.fillStyle = ink;
      context.fillRect(x - 2, y - 2, 4, 4);
      return;
    }
    const { columns, width, height, sheet } = embedding;
    const [left, top] = [(i % columns) * width, Math.floor(i / columns) * height];
    context.drawImage(sheet, left, top, width, height, x - side / 2, y - side / 2, side, side);
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
    if (i !== this.hovered) {
      this.hovered = i;
      this.store.changed();
    }
    const embedding = this.store.answer("embedding");
    this.canvas.title = i < 0 || !embedding ? "" : this.named(embedding, i);
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

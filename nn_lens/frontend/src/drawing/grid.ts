/** Many small tiles in one canvas: hover tells about a tile, a click or the arrow keys choose one. */
import { phrase } from "../panel/words";
import { el } from "./dom";

export interface Tiles {
  /** Changes when any pixel does. */
  key: string;
  count: number;
  /** Pixels of a tile, and the rows and columns of numbers that they show. */
  height: number;
  width: number;
  rows: number;
  columns: number;
  /** Writes tile `index` as RGBA. */
  paint(index: number, out: Uint8ClampedArray): void;
  /** What a tile is called, for the label of the canvas. */
  label: string;
}

const GAP = 2;
const SMALLEST = 16;
/** How much wider charts are than pictures. */
const WIDER = 2;

export interface Place {
  index: number;
  row: number;
  column: number;
}

export class Grid {
  readonly root: HTMLElement;
  private readonly canvas = el("canvas", { role: "img" });
  private readonly mark = el("div", { class: "mark" });
  /** The same place in every tile. */
  private readonly places = el("canvas", { class: "places", "aria-hidden": "true", hidden: true });
  private place: { row: number; column: number } | null = null;
  private placed = "";
  private readonly frame: HTMLElement;
  private readonly sizes: ResizeObserver;
  private tiles: Tiles | null = null;
  private atlas: OffscreenCanvas | null = null;
  private atlasColumns = 1;
  private drawn = "";
  private columns = 1;
  private scrolls = false;
  /** Width and height inside, as they were observed: to ask for them would cost a layout. */
  private room = [0, 0];
  private cell = { width: 1, height: 1 };

  constructor(
    private readonly chosen: (index: number) => void,
    private readonly hovered: (place: Place | null) => void,
    private readonly largest = 96,
  ) {
    this.frame = el("div", { class: "tiles", tabindex: 0, role: "group" }, this.canvas, this.places, this.mark);
    this.root = el("div", { class: "grid" }, this.frame);
    this.frame.addEventListener("click", (event) => {
      const place = this.placeAt(event);
      if (place) this.chosen(place.index);
    });
    this.frame.addEventListener("pointermove", (event) => this.hovered(this.placeAt(event)));
    this.frame.addEventListener("pointerleave", () => this.hovered(null));
    this.frame.addEventListener("keydown", (event) => this.key(event));
    this.sizes = new ResizeObserver(([{ contentRect }]) => {
      this.room = [Math.floor(contentRect.width), Math.floor(contentRect.height)];
      this.lay();
    });
    this.sizes.observe(this.root);
  }

  close(): void {
    this.sizes.disconnect();
  }

  /** Shows tiles, and marks the chosen one; draws only what has changed. */
  show(tiles: Tiles, selected: number | null): void {
    const renewed = tiles.key !== this.tiles?.key;
    this.tiles = tiles;
    if (renewed) {
      this.pack(tiles);
      this.lay();
    }
    this.select(selected);
  }

  /** Marks a place in all tiles, or none. */
  point(place: { row: number; column: number } | null): void {
    this.place = place;
    this.drawPlaces();
  }

  /** How many tiles there are side by side. */
  get across(): number {
    return this.columns;
  }

  private drawPlaces(): void {
    const { tiles, place } = this;
    const key = place ? `${this.drawn} ${place.row} ${place.column}` : "";
    if (key === this.placed) return;
    this.placed = key;
    this.places.hidden = !place;
    if (!tiles || !place) return;
    this.places.width = Number.parseInt(this.canvas.style.width, 10);
    this.places.height = Number.parseInt(this.canvas.style.height, 10);
    const context = this.places.getContext("2d");
    if (!context) return;
    const [w, h] = [this.cell.width / tiles.columns, this.cell.height / tiles.rows];
    for (const [colour, grown] of [
      ["#000", 1.5],
      ["#fff", 0.5],
    ] as const) {
      context.strokeStyle = colour;
      for (let i = 0; i < tiles.count; i++) {
        const x = (i % this.columns) * (this.cell.width + GAP) + place.column * w;
        const y = Math.floor(i / this.columns) * (this.cell.height + GAP) + place.row * h;
        context.strokeRect(x - grown, y - grown, w + 2 * grown, h + 2 * grown);
      }
    }
  }

  private selected: number | null = null;

  private select(index: number | null): void {
    const moved = index !== this.selected;
    this.selected = index;
    this.mark.hidden = index === null;
    if (index === null) return;
    const left = (index % this.columns) * (this.cell.width + GAP);
    const top = Math.floor(index / this.columns) * (this.cell.height + GAP);
    this.mark.style.transform = `translate(${left}px, ${top}px)`;
    this.mark.style.width = `${this.cell.width}px`;
    this.mark.style.height = `${this.cell.height}px`;
    if (!moved) return;
    // Keeps the chosen tile in sight without moving the page. What fits need not be asked for, which costs a layout.
    if (!this.scrolls) return;
    const { scrollTop, clientHeight } = this.root;
    if (top < scrollTop) this.root.scrollTop = top;
    else if (top + this.cell.height > scrollTop + clientHeight)
      this.root.scrollTop = top + this.cell.height - clientHeight;
  }

  /** All tiles at their own size, in a square that fits the limits of a canvas. */
  private pack(tiles: Tiles): void {
    const { count, height, width } = tiles;
    this.atlasColumns = Math.max(1, Math.ceil(Math.sqrt((count * height) / width)));
    const rows = Math.ceil(count / this.atlasColumns);
    const atlas = new OffscreenCanvas(this.atlasColumns * width, rows * height);
    const context = atlas.getContext("2d");
    const image = new ImageData(width, height);
    for (let i = 0; i < count; i++) {
      tiles.paint(i, image.data);
      context?.putImageData(image, (i % this.atlasColumns) * width, Math.floor(i / this.atlasColumns) * height);
    }
    this.atlas = atlas;
    this.canvas.setAttribute("aria-label", tiles.label);
    this.frame.setAttribute("aria-label", phrase("grid.frame", { label: tiles.label }));
  }

  /** Chooses the size of a tile so that all are seen if they can be, and draws them. */
  private lay(): void {
    const tiles = this.tiles;
    if (!tiles || !this.atlas) return;
    if (!this.room[0]) this.room = [this.root.clientWidth, this.root.clientHeight];
    const [room, high] = this.room;
    if (room === 0) return;
    const aspect = tiles.height / tiles.width;
    const wider = tiles.rows < tiles.height ? WIDER : 1;
    const width = Math.min(room, this.fitting(tiles.count, aspect, room, high, wider));
    this.cell = { width, height: Math.max(4, Math.round(width * aspect)) };
    this.columns = Math.max(1, Math.floor((room + GAP) / (width + GAP)));
    const rows = Math.ceil(tiles.count / this.columns);
    this.scrolls = rows * (this.cell.height + GAP) > high;
    const dpr = window.devicePixelRatio || 1;
    const [w, h] = [this.columns * (width + GAP) - GAP, rows * (this.cell.height + GAP) - GAP];
    const drawn = `${tiles.key} ${w} ${h} ${width} ${dpr}`;
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    this.canvas.width = Math.round(w * dpr);
    this.canvas.height = Math.round(h * dpr);
    this.canvas.style.width = `${w}px`;
    this.canvas.style.height = `${h}px`;
    this.canvas.dataset.cell = `${width} ${this.cell.height} ${GAP} ${this.columns}`;
    const context = this.canvas.getContext("2d");
    if (!context) return;
    context.imageSmoothingEnabled = wider > 1; // of charts no bar may be left out
    context.setTransform(dpr, 0, 0, dpr, 0, 0);
    for (let i = 0; i < tiles.count; i++) {
      const [ax, ay] = [(i % this.atlasColumns) * tiles.width, Math.floor(i / this.atlasColumns) * tiles.height];
      const x = (i % this.columns) * (width + GAP);
      const y = Math.floor(i / this.columns) * (this.cell.height + GAP);
      context.drawImage(this.atlas, ax, ay, tiles.width, tiles.height, x, y, width, this.cell.height);
    }
    const selected = this.selected;
    this.selected = null;
    this.select(selected);
    this.drawPlaces();
  }

  /** The largest width of a tile at which all are seen at once, or the smallest that is of use. */
  private fitting(count: number, aspect: number, room: number, height: number, wider: number): number {
    for (let width = this.largest * wider; width > SMALLEST * wider; width--) {
      const columns = Math.floor((room + GAP) / (width + GAP));
      if (columns && Math.ceil(count / columns) * (Math.round(width * aspect) + GAP) - GAP <= height) return width;
    }
    return SMALLEST * wider;
  }

  private placeAt(event: MouseEvent): Place | null {
    if (!this.tiles) return null;
    const box = this.canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const [c, r] = [Math.floor(x / (this.cell.width + GAP)), Math.floor(y / (this.cell.height + GAP))];
    const index = r * this.columns + c;
    if (x < 0 || y < 0 || c >= this.columns || index >= this.tiles.count) return null;
    const inside = (at: number, size: number, many: number) =>
      Math.min(many - 1, Math.floor(((at % (size + GAP)) / size) * many));
    return {
      index,
      row: inside(y, this.cell.height, this.tiles.rows),
      column: inside(x, this.cell.width, this.tiles.columns),
    };
  }

  private key(event: KeyboardEvent): void {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns }[event.key];
    if (step === undefined || this.selected === null || !this.tiles) return;
    event.preventDefault();
    event.stopPropagation();
    const index = this.selected + step;
    if (index >= 0 && index < this.tiles.count) this.chosen(index);
  }
}

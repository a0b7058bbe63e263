/** The picture as the layer sees it: at each place the image of the unit that answers most there, and the units in groups. */
import { el, say, short } from "../shared/dom";
import type { Blocks } from "../shared/protocol";
import type { Store } from "../shared/store";
import { noPicture } from "./activations";
import { View } from "./view";

/** Pixels of the grid's longer side, and of a cell at least and at most. */
const SIDE = 640;
const [SMALLEST, LARGEST] = [8, 72];
/** What is left of an image where its unit hardly answers. */
const FAINT = 0.12;

export class BlocksView extends View {
  private readonly canvas = el("canvas", { role: "img", "aria-label": "not here yet" });
  private readonly box = el("div", { class: "sees", hidden: true });
  private readonly frame: HTMLElement;
  private readonly groups = el("div", { class: "groups", role: "group", "aria-label": "groups of units" });
  private readonly words = el("p", { class: "words" });
  private drawn = "";
  private grouped: Blocks | null = null;
  /** The group whose places are shown, -1 for all units. */
  private group = -1;

  constructor(store: Store) {
    super(store, "blocks", "Building blocks");
    const label = "the strongest unit of each place; arrow keys choose a place";
    this.frame = el("div", { class: "frame", tabindex: 0, role: "group", "aria-label": label }, this.canvas, this.box);
    this.body.append(this.frame, this.words, this.groups);
    this.frame.addEventListener("pointermove", (event) => store.lookAt(this.at(event)));
    this.frame.addEventListener("pointerleave", () => store.look(null));
    this.frame.addEventListener("click", (event) => {
      const place = this.at(event);
      if (place) this.choose(place.row, place.column);
    });
    this.frame.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      const found = store.blocks();
      if (!step || !found) return;
      event.preventDefault();
      event.stopPropagation();
      const at = store.neuron() ?? { row: Math.floor(found.height / 2), column: Math.floor(found.width / 2) };
      const inside = (index: number, count: number) => Math.max(0, Math.min(count - 1, index));
      this.choose(inside(at.row + step[0], found.height), inside(at.column + step[1], found.width));
    });
  }

  draw(): void {
    const { store } = this;
    const failure = store.picture ? store.failure("blocks") : noPicture(store);
    const found = store.blocks();
    this.stale(!found && !failure);
    this.empty(failure);
    const made = found ? found.units.filter((unit) => store.imageOf(found.layer, unit)).length : 0;
    if (found) {
      if (this.group >= found.shares.length) this.group = -1;
      if (found !== this.grouped) this.drawGroups(found);
      const key = `${store.picture?.key} ${found.layer} ${found.weights} ${made} ${this.group}`;
      if (key !== this.drawn) this.paint(found);
      this.drawn = key;
      this.point(found);
    }
    const finished = found && made >= found.drawn && found.sheet;
    this.root.dataset.shown = found ? `${found.layer} ${made} ${finished ? "finished" : "running"}` : "";
    if (!failure) say(this.note, found ? this.tell(found, made) : "looking at each place …");
  }

  private tell(found: Blocks, made: number): string {
    const neuron = this.store.neuron();
    if (neuron) {
      const n = neuron.row * found.width + neuron.column;
      const unit = found.strongest[n];
      return `row ${neuron.row}, column ${neuron.column}: unit ${unit} answers most, ${short(found.values[n])}`;
    }
    if (made < found.drawn) return `making the images of the units, ${made} of ${found.drawn} …`;
    const more = found.units.length - found.drawn;
    const rest = more ? `; those of ${more} rarer units are left grey` : "";
    return `${found.units.length} units are strongest somewhere${rest}; the fainter, the weaker`;
  }

  /** Every place with the image of its strongest unit, as strong as it answers there, or as the chosen group does. */
  private paint(found: Blocks): void {
    const { store, canvas } = this;
    const { height, width, strongest, values, maps } = found;
    const cell = Math.max(SMALLEST, Math.min(LARGEST, Math.floor(SIDE / Math.max(height, width))));
    canvas.width = width * cell;
    canvas.height = height * cell;
    this.frame.style.aspectRatio = `${width} / ${height}`;
    this.frame.style.maxWidth = `${canvas.width}px`;
    canvas.setAttribute("aria-label", found.alt);
    const context = canvas.getContext("2d");
    if (!context) return;
    const size = height * width;
    const strengths = this.group < 0 ? values : maps.subarray(this.group * size, (this.group + 1) * size);
    const most = Math.max(
      1e-9,
      strengths.reduce((a, b) => Math.max(a, b), 0),
    );
    const images = new Map(found.units.map((unit) => [unit, store.imageOf(found.layer, unit)]));
    for (let n = 0; n < size; n++) {
      const [x, y] = [(n % width) * cell, Math.floor(n / width) * cell];
      const image = images.get(strongest[n]);
      context.globalAlpha = FAINT + (1 - FAINT) * Math.sqrt(Math.max(0, strengths[n]) / most);
      if (image) {
        const { sheet, width: w, height: h } = image.page;
        context.drawImage(sheet, image.index * w, 0, w, h, x, y, cell, cell);
      } else {
        context.fillStyle = "#808080";
        context.fillRect(x, y, cell, cell);
      }
    }
  }

  private drawGroups(found: Blocks): void {
    this.grouped = found;
    const { height, width, shares, sheet, maps } = found;
    const table = this.store.colours.sequential;
    const size = height * width;
    const tiles = shares.map((share, g) => {
      const map = el("canvas", { role: "img", "aria-label": `Where group ${g + 1} answers` });
      [map.width, map.height] = [width, height];
      const own = maps.subarray(g * size, (g + 1) * size);
      const most = own.reduce((a, b) => Math.max(a, b), 1e-9);
      const pixels = new ImageData(width, height);
      own.forEach((value, n) => {
        const c = 3 * Math.round((255 * value) / most);
        pixels.data.set([table[c], table[c + 1], table[c + 2], 255], 4 * n);
      });
      map.getContext("2d")?.putImageData(pixels, 0, 0);
      const image = el("canvas", { role: "img", "aria-label": `What group ${g + 1} wants most` });
      if (sheet) {
        image.width = sheet.width / shares.length;
        image.height = sheet.height;
        image.getContext("2d")?.drawImage(sheet, -g * image.width, 0);
      }
      const caption = el("span", { class: "caption" }, `group ${g + 1} · ${(100 * share).toFixed(0)} %`);
      const root = el("button", { type: "button", class: "tile" }, map, image, caption);
      root.title = "shows where its units answer";
      root.setAttribute("aria-pressed", String(g === this.group));
      root.addEventListener("click", () => {
        this.group = this.group === g ? -1 : g;
        for (const [i, each] of [...this.groups.children].entries())
          each.setAttribute("aria-pressed", String(i === this.group));
        this.store.changed();
      });
      return root;
    });
    this.groups.replaceChildren(...tiles);
    say(
      this.words,
      `Units that answer together, in ${shares.length} groups (non-negative matrix factorization), which explain ` +
        `${(100 * found.explained).toFixed(0)} % of this picture's answers: where each answers, and what it wants most.`,
    );
  }

  /** The place that is looked at. */
  private point(found: Blocks): void {
    const neuron = this.store.neuron();
    this.box.hidden = !neuron;
    this.box.classList.toggle("locked", this.store.locked);
    if (!neuron) return;
    Object.assign(this.box.style, {
      top: `${(100 * neuron.row) / found.height}%`,
      left: `${(100 * neuron.column) / found.width}%`,
      height: `${100 / found.height}%`,
      width: `${100 / found.width}%`,
    });
  }

  private at(event: MouseEvent): { row: number; column: number } | null {
    const found = this.store.blocks();
    if (!found) return null;
    const box = this.frame.getBoundingClientRect();
    const index = (at: number, size: number, count: number) =>
      Math.max(0, Math.min(count - 1, Math.floor((at / size) * count)));
    return {
      row: index(event.clientY - box.top, box.height, found.height),
      column: index(event.clientX - box.left, box.width, found.width),
    };
  }

  /** Selects the unit that is strongest at a place, and stays there. */
  private choose(row: number, column: number): void {
    const found = this.store.blocks();
    if (!found) return;
    this.store.select(found.layer, found.strongest[row * found.width + column]);
    this.store.lockAt(row, column);
  }
}

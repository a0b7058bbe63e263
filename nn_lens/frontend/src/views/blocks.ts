/** The picture as the layer sees it: at each place the image of the unit that is strongest there, and the units in groups. */
import { colourOf } from "../drawing/bars";
import { el, say, short } from "../drawing/dom";
import { stepOf } from "../drawing/keys";
import { bitmap, drawFrom } from "../drawing/sheet";
import { paintLevels } from "../drawing/tiles";
import { cellAt, clamp, type Neuron, placeOf } from "../panel/geometry";
import { floats, type Message } from "../panel/protocol";
import type { Store } from "../panel/store";
import { phrase } from "../panel/words";
import { AnswerView } from "./view";

/** Which unit of a layer is strongest at each place of the picture, and the units in groups that are active together. */
export interface Blocks {
  layer: string;
  height: number;
  width: number;
  /** Those that are strongest somewhere, the one with most places first; of the first `drawn` images are made. */
  units: number[];
  drawn: number;
  /** What each group explains of all activations, and what all do of the activations' squares. */
  shares: number[];
  explained: number;
  alt: string;
  weights: number;
  strongest: Int32Array;
  values: Float32Array;
  /** A map for each group. */
  maps: Float32Array;
  /** What each group wants most, side by side. */
  sheet: ImageBitmap | null;
}

export async function decodeBlocks(head: Message, [sheet, ...numbers]: DataView[]): Promise<Blocks> {
  const [strongest, values, maps] = numbers.map(floats);
  const decoded = { strongest: new Int32Array(strongest.buffer), values, maps, sheet: await bitmap(sheet) };
  return { ...(head as unknown as Blocks), ...decoded };
}

/** Pixels of the grid's longer side, and of a cell at least and at most. */
const SIDE = 640;
const [SMALLEST, LARGEST] = [8, 72];
/** What is left of an image where its unit is hardly active. */
const FAINT = 0.12;
/** Pixels of the width at which a chart in a row can be made out; narrower pieces have a colour for each unit. */
const READABLE = 40;

export class BlocksView extends AnswerView<"blocks"> {
  private readonly canvas = el("canvas", { role: "img", "aria-label": phrase("card.absent") });
  private readonly box = el("div", { class: "sees", hidden: true });
  private readonly frame: HTMLElement;
  private readonly groups = el("div", { class: "groups", role: "group", "aria-label": phrase("blocks.label") });
  private readonly explained = el("p", { class: "words" });
  private readonly bar = el("progress", { max: 1, hidden: true });
  private gridKey = "";
  /** The group whose places are shown, -1 for all units. */
  private group = -1;

  constructor(store: Store) {
    super(store, "blocks", "blocks");
    const label = phrase("blocks.frame");
    this.frame = el("div", { class: "frame", tabindex: 0, role: "group", "aria-label": label }, this.canvas, this.box);
    this.bar.setAttribute("aria-label", this.phrase("blocks.images"));
    this.tools.append(this.bar);
    this.note.classList.add("above");
    this.body.append(this.frame, this.explained, this.groups);
    this.body.before(this.note); // how far it is has to be in sight
    this.frame.addEventListener("pointermove", (event) => store.sight.hoverAt(this.at(event)));
    this.frame.addEventListener("pointerleave", () => store.look.hover(null));
    this.frame.addEventListener("click", (event) => this.choose(this.at(event)));
    this.frame.addEventListener("keydown", (event) => {
      const blocks = store.answer("blocks");
      const step = blocks && stepOf(event);
      if (!step) return;
      const { height, width } = blocks;
      const at = store.sight.neuron() ?? { row: Math.floor(height / 2), column: Math.floor(width / 2) };
      this.choose({ row: clamp(at.row + step[0], 0, height - 1), column: clamp(at.column + step[1], 0, width - 1) });
    });
  }

  override draw(): void {
    super.draw();
    const blocks = this.store.answer("blocks");
    this.bar.hidden = !blocks || this.made(blocks) >= blocks.drawn;
    if (!blocks) return;
    this.bar.value = this.made(blocks) / blocks.drawn;
    // Images of units come one page after the other, beside the answer itself.
    const key = `${this.store.picture?.key} ${blocks.layer} ${blocks.weights} ${this.made(blocks)} ${this.group}`;
    if (key !== this.gridKey) this.paintGrid(blocks);
    this.gridKey = key;
    this.point(blocks);
  }

  protected shown(blocks: Blocks): string {
    const made = this.made(blocks);
    return `${blocks.layer} ${made} ${made >= blocks.drawn && blocks.sheet ? "finished" : "running"}`;
  }

  protected tell(blocks: Blocks): string {
    const { width, strongest, values, units, drawn } = blocks;
    const neuron = this.store.sight.neuron();
    if (neuron) {
      const n = neuron.row * width + neuron.column;
      const place = this.store.sight.inWords(neuron);
      return phrase("blocks.at", { place, unit: strongest[n], value: short(values[n]) });
    }
    const made = this.made(blocks);
    if (made < drawn) return phrase("blocks.making", { made, drawn });
    const rest = units.length > drawn ? phrase("blocks.rest", { count: units.length - drawn }) : "";
    const colours = blocks.height === 1 && width > 1 ? phrase("blocks.colours") : "";
    return phrase("blocks.note", { count: units.length, rest, colours });
  }

  protected waiting(): string {
    return phrase("blocks.waiting");
  }

  /** The groups: where each is active, and what it wants most. */
  protected paint({ height, width, shares, explained, sheet, maps }: Blocks): void {
    if (this.group >= shares.length) this.group = -1;
    this.gridKey = "";
    const size = height * width;
    const tiles = shares.map((share, g) => {
      const map = el("canvas", { role: "img", "aria-label": phrase("blocks.map", { group: g + 1 }) });
      const own = maps.subarray(g * size, (g + 1) * size);
      paintLevels(map, { height, width, values: own }, this.store.colours.sequential);
      const image = el("canvas", { role: "img", "aria-label": phrase("blocks.image", { group: g + 1 }) });
      if (sheet) drawFrom(image, sheet, g, shares.length);
      const caption = el(
        "span",
        { class: "caption" },
        phrase("blocks.group", { group: g + 1, share: (100 * share).toFixed(0) }),
      );
      const root = el("button", { type: "button", class: "tile" }, map, image, caption);
      root.title = phrase("blocks.show");
      root.setAttribute("aria-pressed", String(g === this.group));
      root.addEventListener("click", () => this.chooseGroup(g));
      return root;
    });
    this.groups.replaceChildren(...tiles);
    say(this.explained, this.phrase("blocks.how", { count: shares.length, share: (100 * explained).toFixed(0) }));
  }

  private chooseGroup(group: number): void {
    this.group = this.group === group ? -1 : group;
    for (const [i, tile] of [...this.groups.children].entries())
      tile.setAttribute("aria-pressed", String(i === this.group));
    this.store.changed();
  }

  /** How many units' images are here. */
  private made({ layer, units }: Blocks): number {
    return units.filter((unit) => this.store.imageOf(layer, unit)).length;
  }

  /** Every place with the image of its strongest unit, as strong as its activation there, or as the chosen group's is. */
  private paintGrid({ layer, height, width, units, strongest, values, maps, alt }: Blocks): void {
    const { canvas } = this;
    const cell = clamp(Math.floor(SIDE / Math.max(height, width)), SMALLEST, LARGEST);
    // The places of one row are high enough for their images, and as many beside one another as have the same unit.
    const tall = height === 1 ? LARGEST : cell;
    canvas.width = width * cell;
    canvas.height = height * tall;
    this.frame.style.aspectRatio = `${canvas.width} / ${canvas.height}`;
    this.frame.style.maxWidth = `${canvas.width}px`;
    canvas.setAttribute("aria-label", this.words(alt));
    const context = canvas.getContext("2d");
    if (!context) return;
    const size = height * width;
    const strengths = this.group < 0 ? values : maps.subarray(this.group * size, (this.group + 1) * size);
    const most = strengths.reduce((a, b) => Math.max(a, b), 1e-9);
    const images = new Map(units.map((unit) => [unit, this.store.imageOf(layer, unit)]));
    for (let n = 0; n < size; n++) {
      const [x, y] = [(n % width) * cell, Math.floor(n / width) * tall];
      const [first, count] = height === 1 ? runOf(strongest, n) : [0, 1];
      const image = count * cell >= READABLE || height > 1 ? images.get(strongest[n]) : null;
      context.globalAlpha = FAINT + (1 - FAINT) * Math.sqrt(Math.max(0, strengths[n]) / most);
      if (image) {
        const { pictures, width: w, height: h } = image.page;
        context.drawImage(pictures[image.index], (first * w) / count, 0, w / count, h, x, y, cell, tall);
      } else {
        context.fillStyle = colourOf(strongest[n], height === 1 ? 60 : 25);
        context.fillRect(x, y, cell, tall);
      }
    }
  }

  /** Marks the place that is looked at. */
  private point({ height, width }: Blocks): void {
    const neuron = this.store.sight.neuron();
    this.box.hidden = !neuron;
    this.box.classList.toggle("locked", this.store.look.locked);
    if (!neuron) return;
    Object.assign(this.box.style, {
      top: `${(100 * neuron.row) / height}%`,
      left: `${(100 * neuron.column) / width}%`,
      height: `${100 / height}%`,
      width: `${100 / width}%`,
    });
  }

  private at(event: MouseEvent): Neuron | null {
    const blocks = this.store.answer("blocks");
    return blocks ? cellAt(placeOf(event, this.frame), blocks.height, blocks.width) : null;
  }

  /** Selects the unit that is strongest at a place, and stays there. */
  private choose(neuron: Neuron | null): void {
    const blocks = this.store.answer("blocks");
    if (!blocks || !neuron) return;
    this.store.sight.select(blocks.layer, blocks.strongest[neuron.row * blocks.width + neuron.column]);
    this.store.sight.lockAt(neuron);
  }
}

/** Which of how many neighbours with the same strongest unit a place of a row is. */
function runOf(strongest: Int32Array, n: number): [index: number, count: number] {
  let [first, stop] = [n, n + 1];
  while (first > 0 && strongest[first - 1] === strongest[n]) first--;
  while (stop < strongest.length && strongest[stop] === strongest[n]) stop++;
  return [n - first, stop - first];
}

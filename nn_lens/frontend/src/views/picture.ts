/** The picture: samples, upload, the selected unit's map on it, and what the network calls it. */
import { el, say, short } from "../drawing/dom";
import { stepOf } from "../drawing/keys";
import { drawPicture } from "../drawing/sheet";
import { markStale } from "../drawing/stale";
import { drawTile, fade } from "../drawing/tiles";
import { Camera } from "../panel/camera";
import { type Place, placeOf } from "../panel/geometry";
import { bytes, type Message, type Sample } from "../panel/protocol";
import type { Store } from "../panel/store";
import { cut, isWide, phrase, shapeOf } from "../panel/words";
import { View } from "./view";

/** The classes with the largest values; `shares`: whether these are probabilities or shares, of which 1 is all. */
export interface Scores {
  scores: [label: string, value: number][];
  shares: boolean;
}

export function decodeScores(head: Message): Scores {
  return head as unknown as Scores;
}

/** Pixels up to which a network's pictures are drawn with square pixels, as its maps are. */
const CRISP = 32;

export class PictureView extends View {
  private readonly canvas = el("canvas", { class: "picture", role: "img" });
  private readonly map = el("canvas", { class: "map", role: "img" });
  private readonly boxes = [el("div", { class: "sees", hidden: true }), el("div", { class: "sees", hidden: true })];
  private readonly overlay = el("input", { type: "checkbox", onchange: () => this.draw() });
  private readonly scores = el("table", { class: "scores", "aria-label": phrase("picture.scores") });
  private readonly problem = el("p", { class: "problem", role: "alert" });
  private readonly samples: { name: string; root: HTMLButtonElement }[];
  private readonly camera: Camera;
  private readonly filming = el("button", { type: "button", class: "camera", title: phrase("picture.camera") });
  private readonly overlayLabel: HTMLElement;
  /** Lets go of the place that is locked, at the corner of its box. */
  private readonly letGo = el(
    "button",
    { type: "button", class: "letgo", hidden: true, title: phrase("place.letGo") },
    "×",
  );
  private drawn = "";
  private mapped = "";
  private scored: unknown = null;

  constructor(store: Store) {
    super(store, "picture", "picture-card");
    const { network } = store;
    const isPicture = network.kind === "picture";
    const accept = isPicture ? "image/*" : ".npy";
    const file = el("input", { type: "file", accept, hidden: true, "aria-label": this.phrase("picture.file") });
    file.addEventListener("change", () => {
      if (file.files?.[0]) void store.pictures.take(file.files[0]);
      file.value = "";
    });
    const upload = el(
      "button",
      { type: "button", class: "upload", onclick: () => file.click() },
      phrase("picture.upload"),
    );
    upload.title = isPicture ? phrase("picture.drop") : phrase("picture.dropFile", { shape: shapeOf(network) });
    this.samples = store.samples.filter(({ data }) => data.byteLength).map((sample) => this.sample(sample));
    this.overlayLabel = el("label", { class: "overlay" }, this.overlay, this.phrase("picture.overlay"));
    this.letGo.setAttribute("aria-label", phrase("place.letsGo"));
    this.letGo.addEventListener("click", (event) => {
      event.stopPropagation();
      store.look.unlock();
    });
    this.camera = new Camera(store);
    this.filming.addEventListener("click", () => (this.camera.on ? this.camera.stop() : void this.camera.start()));
    if (store.live) this.tools.append(...(isPicture ? [this.filming] : []), upload, file);
    this.body.append(
      el(
        "div",
        { class: "samples", role: "group", "aria-label": this.phrase("picture.samples") },
        ...this.samples.map(({ root }) => root),
      ),
      el("div", { class: "pair" }, this.frame(this.canvas, 0), this.frame(this.map, 1)),
      this.overlayLabel,
      this.scores,
    );
    this.body.before(this.problem);
    this.root.addEventListener("dragover", (event) => {
      event.preventDefault();
      this.root.classList.add("over");
    });
    this.root.addEventListener("dragleave", () => this.root.classList.remove("over"));
    this.root.addEventListener("drop", (event) => {
      event.preventDefault();
      event.stopPropagation();
      this.root.classList.remove("over");
      store.pictures.takeFrom(event.dataTransfer);
    });
  }

  /** A picture to choose; an exported page has the names only, and nothing to choose. */
  private sample({ name, data }: Sample): { name: string; root: HTMLButtonElement } {
    const image = el("img", { alt: name, src: URL.createObjectURL(new Blob([bytes(data) as BlobPart])) });
    image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
    const choose = () => this.store.pictures.chooseSample(name);
    return { name, root: el("button", { type: "button", class: "sample", title: name, onclick: choose }, image) };
  }

  /** Around a canvas: what the pointer is over is looked at, a click or the arrow keys stay at a place. */
  private frame(canvas: HTMLCanvasElement, index: number): HTMLElement {
    const { store } = this;
    const [, height, width] = store.network.input;
    const label = this.phrase("picture.frame");
    const frame = el("div", { class: "frame", tabindex: 0, role: "group", "aria-label": label }, canvas);
    frame.append(this.boxes[index], ...(index ? [] : [this.letGo]));
    if (!isWide(store.network)) frame.style.aspectRatio = `${width} / ${height}`;
    frame.addEventListener("pointermove", (event) => store.look.hover(placeOf(event, frame)));
    frame.addEventListener("pointerleave", () => store.look.hover(null));
    frame.addEventListener("click", (event) => this.choose(placeOf(event, frame)));
    frame.addEventListener("keydown", (event) => {
      const step = stepOf(event);
      if (!step) return;
      const [rows, columns] = store.layer.grid;
      const at = store.sight.neuron() ?? { row: Math.floor(rows / 2), column: Math.floor(columns / 2) };
      store.sight.lockAt({ row: at.row + step[0], column: at.column + step[1] });
    });
    return frame;
  }

  /** Stays at a place; a click at the neuron that is looked at lets go of it. */
  private choose(place: Place): void {
    const { look, sight } = this.store;
    const before = look.locked ? sight.neuron() : null;
    look.lock(place);
    const now = sight.neuron();
    if (before && now && before.row === now.row && before.column === now.column) look.unlock();
  }

  /** The box of what the neuron at the place sees, on the picture; its cell on the map. */
  private drawBoxes(): void {
    const { sight, look } = this.store;
    const neuron = sight.neuron();
    const [rows, columns] = sight.layer.grid;
    const cell: [number, number, number, number] | null = neuron && [
      neuron.row / rows,
      neuron.column / columns,
      (neuron.row + 1) / rows,
      (neuron.column + 1) / columns,
    ];
    for (const [i, at] of [sight.box(), cell].entries()) {
      this.boxes[i].hidden = !at;
      this.boxes[i].classList.toggle("locked", look.locked);
      if (!at) continue;
      const [top, left, bottom, right] = at.map((share) => 100 * share);
      Object.assign(this.boxes[i].style, {
        top: `${top}%`,
        left: `${left}%`,
        height: `${bottom - top}%`,
        width: `${right - left}%`,
      });
    }
    const box = sight.box();
    this.letGo.hidden = !look.locked || !box;
    if (box) Object.assign(this.letGo.style, { top: `${100 * box[0]}%`, left: `${100 * box[3]}%` });
  }

  override close(): void {
    this.camera.stop();
  }

  draw(): void {
    const store = this.store;
    say(this.filming, phrase(this.camera.on ? "stop" : "picture.film"));
    say(this.problem, store.pictures.error);
    this.problem.hidden = !store.pictures.error;
    const picture = store.picture;
    const [rows, columns] = store.layer.grid;
    const mapped = picture !== null && store.views.includes("activations") && rows * columns > 1;
    const alone = this.map.parentElement !== this.canvas.parentElement;
    if (alone) this.map.parentElement?.toggleAttribute("hidden", !mapped);
    this.map.hidden = !mapped;
    this.overlayLabel.hidden = !mapped;
    const name = picture ? picture.name || this.phrase("picture.yours") : "";
    say(this.heading, name ? cut(name, 16) : this.title);
    this.heading.title = name ? `${this.title}: ${name}` : "";
    this.note.hidden = picture !== null;
    say(this.note, picture ? "" : this.noPicture());
    if (picture && picture.key !== this.drawn) {
      this.drawn = picture.key;
      void this.paint(picture.data, picture.name);
    }
    for (const { name, root } of this.samples) root.setAttribute("aria-pressed", String(name === picture?.name));
    this.drawMap();
    this.drawBoxes();
    this.drawScores();
  }

  /** The selected unit's map, at the network's own resolution and as large as the picture. */
  private drawMap(): void {
    const { store } = this;
    const stack = store.answer("maps");
    const { layer, channel } = store.selection;
    markStale(this.map, !stack);
    const frame = this.canvas.parentElement as HTMLElement;
    const over = this.overlay.checked;
    if ((this.map.parentElement === frame) !== over)
      (over ? frame : (frame.nextSibling as HTMLElement)).insertBefore(this.map, this.boxes[over ? 0 : 1]);
    (frame.nextSibling as HTMLElement).toggleAttribute("hidden", over || this.map.hidden);
    if (!stack || this.map.hidden) return;
    const at = `${store.picture?.key} ${stack.weights} ${layer}:${channel}`;
    const state = `${at} ${store.topKey("maps")} ${over}`;
    if (this.mapped === state) return;
    this.mapped = state;
    const top = store.topOf("maps")(channel);
    drawTile(this.map, stack, channel, 0, store.colours, top);
    if (over) fade(this.map, stack, channel, top);
    this.map.dataset.shown = at;
    this.map.setAttribute("aria-label", this.phrase("picture.map", { unit: `${layer}:${channel}` }));
  }

  private drawScores(): void {
    const failure = this.store.failure("scores");
    const scores = this.store.answer("scores");
    markStale(this.scores, !scores && !failure);
    if (failure) this.scores.replaceChildren(el("tr", {}, el("td", { class: "why" }, failure)));
    else if (scores && scores !== this.scored) {
      const most = Math.max(1e-9, ...scores.scores.map(([, value]) => Math.abs(value)));
      this.scores.replaceChildren(
        ...scores.scores.map(([label, value]) => {
          const percent = (100 * value).toFixed(1);
          const width = (scores.shares ? 100 * value : (100 * Math.abs(value)) / most) || 0; // NaN is no width
          const bar = el("div", { class: value < 0 ? "bar less" : "bar", style: `width:${width}%` });
          const text = scores.shares ? `${percent} %` : short(value);
          return el("tr", {}, el("td", { title: label }, label), el("td", {}, bar), el("td", {}, text));
        }),
      );
    }
    this.scored = failure ? null : (scores ?? this.scored);
  }

  private async paint(data: DataView, name: string): Promise<void> {
    await drawPicture(this.canvas, data);
    this.canvas.classList.toggle("crisp", Math.max(...this.store.network.input.slice(1)) <= CRISP);
    this.canvas.setAttribute("aria-label", this.phrase("picture.alt", { name: name || phrase("picture.your") }));
  }
}

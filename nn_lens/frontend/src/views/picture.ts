/** The picture: samples, upload, the selected unit's map on it, and what the network calls it. */
import { Camera } from "../shared/camera";
import { el, say } from "../shared/dom";
import { bytes } from "../shared/protocol";
import type { Store } from "../shared/store";
import { drawTile } from "../shared/tiles";
import { take, takeFrom } from "../shared/upload";
import { noPicture } from "./activations";
import { View } from "./view";

export class PictureView extends View {
  private readonly canvas = el("canvas", { class: "picture", role: "img" });
  private readonly map = el("canvas", { class: "map", role: "img" });
  private readonly boxes = [el("div", { class: "sees", hidden: true }), el("div", { class: "sees", hidden: true })];
  private readonly overlay = el("input", { type: "checkbox", onchange: () => this.draw() });
  private readonly scores = el("table", { class: "scores", "aria-label": "most probable classes" });
  private readonly problem = el("p", { class: "problem", role: "alert" });
  private readonly samples: HTMLButtonElement[];
  private readonly camera: Camera;
  private readonly filming = el("button", { type: "button", class: "camera", title: "shows what your camera sees" });
  private drawn = "";
  private mapped = "";
  private scored: unknown = null;

  constructor(store: Store) {
    super(store, "picture-card", "Picture");
    const file = el("input", { type: "file", accept: "image/*", hidden: true, "aria-label": "picture file" });
    file.addEventListener("change", () => {
      if (file.files?.[0]) void take(file.files[0], store);
      file.value = "";
    });
    const upload = el("button", { type: "button", class: "upload", onclick: () => file.click() }, "Upload");
    upload.title = "or drop or paste a picture";
    this.samples = store.samples.map(({ name, data }) => {
      const image = el("img", { alt: name, src: URL.createObjectURL(new Blob([bytes(data) as BlobPart])) });
      image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
      return el(
        "button",
        { type: "button", class: "sample", title: name, onclick: () => store.chooseSample(name) },
        image,
      );
    });
    const label = el("label", { class: "overlay" }, this.overlay, "map on the picture");
    this.camera = new Camera(store);
    this.filming.addEventListener("click", () => (this.camera.on ? this.camera.stop() : void this.camera.start()));
    if (store.live) this.tools.append(this.filming, upload, file);
    this.body.append(
      el("div", { class: "samples", role: "group", "aria-label": "sample pictures" }, ...this.samples),
      el("div", { class: "pair" }, this.frame(this.canvas, 0), this.frame(this.map, 1)),
      label,
      this.scores,
    );
    this.note.before(this.problem);
    this.root.addEventListener("dragover", (event) => {
      event.preventDefault();
      this.root.classList.add("over");
    });
    this.root.addEventListener("dragleave", () => this.root.classList.remove("over"));
    this.root.addEventListener("drop", (event) => {
      event.preventDefault();
      event.stopPropagation();
      this.root.classList.remove("over");
      takeFrom(event.dataTransfer, store);
    });
  }

  /** Around a canvas: what the pointer is over is looked at, a click or the arrow keys stay at a place. */
  private frame(canvas: HTMLCanvasElement, index: number): HTMLElement {
    const { store } = this;
    const [, height, width] = store.network.input;
    const label = "the picture; arrow keys choose a place";
    const frame = el("div", { class: "frame", tabindex: 0, role: "group", "aria-label": label }, canvas);
    frame.append(this.boxes[index]);
    if (height && width) frame.style.aspectRatio = `${width} / ${height}`;
    frame.addEventListener("pointermove", (event) => {
      const box = frame.getBoundingClientRect();
      store.look({ y: (event.clientY - box.top) / box.height, x: (event.clientX - box.left) / box.width });
    });
    frame.addEventListener("pointerleave", () => store.look(null));
    frame.addEventListener("click", (event) => {
      const box = frame.getBoundingClientRect();
      store.unlock();
      store.look({ y: (event.clientY - box.top) / box.height, x: (event.clientX - box.left) / box.width });
      store.lock();
    });
    frame.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      const [rows, columns] = store.layer.grid;
      const at = store.neuron() ?? { row: Math.floor(rows / 2), column: Math.floor(columns / 2) };
      store.lockAt(at.row + step[0], at.column + step[1]);
    });
    return frame;
  }

  /** The box of what the neuron at the place sees, on the picture; its cell on the map. */
  private drawBoxes(): void {
    const { store } = this;
    const neuron = store.neuron();
    const [rows, columns] = store.layer.grid;
    const cell: [number, number, number, number] | null = neuron && [
      neuron.row / rows,
      neuron.column / columns,
      (neuron.row + 1) / rows,
      (neuron.column + 1) / columns,
    ];
    for (const [i, at] of [store.box(), cell].entries()) {
      this.boxes[i].hidden = !at;
      this.boxes[i].classList.toggle("locked", store.locked);
      if (!at) continue;
      const [top, left, bottom, right] = at.map((share) => 100 * share);
      Object.assign(this.boxes[i].style, {
        top: `${top}%`,
        left: `${left}%`,
        height: `${bottom - top}%`,
        width: `${right - left}%`,
      });
    }
  }

  override close(): void {
    this.camera.stop();
  }

  draw(): void {
    const store = this.store;
    say(this.filming, this.camera.on ? "Stop" : "Camera");
    say(this.problem, store.uploadError);
    this.problem.hidden = !store.uploadError;
    const picture = store.picture;
    this.map.parentElement?.toggleAttribute("hidden", !picture || !store.views.includes("activations"));
    say(this.note, picture ? picture.name || "your picture" : noPicture(store));
    if (picture && picture.key !== this.drawn) {
      this.drawn = picture.key;
      void this.paint(picture.data, picture.name);
    }
    for (const [i, { name }] of store.samples.entries())
      this.samples[i].setAttribute("aria-pressed", String(name === picture?.name));
    this.drawMap();
    this.drawBoxes();
    this.drawScores();
  }

  /** The selected unit's map, at the network's own resolution and as large as the picture. */
  private drawMap(): void {
    const { store } = this;
    const stack = store.stack("maps");
    const { layer, channel } = store.selection;
    this.map.classList.toggle("stale", !stack);
    const frame = this.canvas.parentElement as HTMLElement;
    const over = this.overlay.checked;
    if ((this.map.parentElement === frame) !== over)
      (over ? frame : (frame.nextSibling as HTMLElement)).insertBefore(this.map, this.boxes[over ? 0 : 1]);
    if (!stack) return;
    const at = `${store.picture?.key} ${stack.weights} ${layer}:${channel}`;
    const state = `${at} ${store.topKey("maps")}`;
    if (this.mapped === state) return;
    this.mapped = state;
    drawTile(this.map, stack, channel, 0, store.colours, store.top("maps", channel));
    this.map.dataset.shown = at;
    this.map.setAttribute("aria-label", `Activation map of ${layer}:${channel} on the picture`);
  }

  private drawScores(): void {
    const failure = this.store.failure("scores");
    const scores = this.store.scores();
    this.scores.classList.toggle("stale", !scores);
    if (failure) this.scores.replaceChildren(el("tr", {}, el("td", { class: "why" }, failure)));
    else if (scores && scores !== this.scored) {
      this.scores.replaceChildren(
        ...scores.map(([label, p]) => {
          const percent = (100 * p).toFixed(1);
          const bar = el("div", { class: "bar", style: `width:${percent}%` });
          return el("tr", {}, el("td", { title: label }, label), el("td", {}, bar), el("td", {}, `${percent} %`));
        }),
      );
    }
    this.scored = failure ? null : (scores ?? this.scored);
  }

  private async paint(data: DataView, name: string): Promise<void> {
    if (!data.byteLength) return;
    const image = await createImageBitmap(new Blob([bytes(data) as BlobPart]));
    this.canvas.width = image.width;
    this.canvas.height = image.height;
    this.canvas.getContext("2d")?.drawImage(image, 0, 0);
    this.canvas.setAttribute("aria-label", `The picture: ${name || "yours"}`);
    image.close();
  }
}

/** The kernel lab: type or paint a kernel, slide it over a picture, see window x kernel = answer, and the whole map. */
import { el, say, short } from "../drawing/dom";
import { stepOf } from "../drawing/keys";
import { colourOf, largest, numbers, type Plane, paintPlane } from "../drawing/numbers";
import { clamp, placeOf } from "../panel/geometry";
import { phrase } from "../panel/words";
import { correlate, type Sliding, windowAt } from "./correlate";
import { PRESETS, type Preset } from "./presets";

const SIZES = [1, 3, 5, 7, 9, 11];

export class KernelLab {
  readonly root: HTMLElement;
  private picture: Plane | null = null;
  private answer: Plane | null = null;
  private place = { row: 0, column: 0 };
  private readonly choice = el("select", { "aria-label": phrase("kernel") });
  private readonly size = el("select", { "aria-label": phrase("lab.size") });
  private readonly stride = el("input", {
    type: "number",
    min: 1,
    max: 8,
    class: "number",
    "aria-label": phrase("lab.stride"),
  });
  private readonly padding = el("input", {
    type: "number",
    min: 0,
    max: 8,
    class: "number",
    "aria-label": phrase("lab.padding"),
  });
  private readonly relu = el("input", { type: "checkbox" });
  private readonly painting = el("input", { type: "checkbox" });
  private readonly brush = el("input", {
    type: "number",
    step: "any",
    value: 1,
    class: "number",
    "aria-label": phrase("lab.brush"),
  });
  private readonly cells = el("table", { class: "cells", "aria-label": phrase("lab.kernel") });
  private readonly image = el("canvas", { role: "img", "aria-label": phrase("lab.grey") });
  private readonly map = el("canvas", { role: "img" });
  private readonly boxes = [el("div", { class: "sees" }), el("div", { class: "sees" })];
  private readonly equation = el("div", { class: "equation", "aria-live": "polite" });
  private readonly range = el("figcaption", { class: "caption" });
  private presets: Preset[] = [];

  constructor(
    private sliding: Sliding,
    private readonly diverging: Uint8Array,
    private readonly changed: (sliding: Sliding) => void = () => {},
  ) {
    this.choice.addEventListener("change", () => {
      const preset = this.presets[Number(this.choice.value)];
      if (preset) this.setKernel(preset.kernel);
    });
    for (const n of SIZES) this.size.append(el("option", { value: n }, `${n} × ${n}`));
    this.size.addEventListener("change", () => this.resize(Number(this.size.value)));
    this.stride.addEventListener("change", () => this.set({ stride: whole(this.stride, 1, 8) }));
    this.padding.addEventListener("change", () => this.set({ padding: whole(this.padding, 0, 8) }));
    this.relu.addEventListener("change", () => this.set({ rectified: this.relu.checked }));
    const controls = el(
      "div",
      { class: "lab-controls" },
      this.choice,
      this.size,
      el("label", {}, `${phrase("lab.stride")} `, this.stride),
      el("label", {}, `${phrase("lab.padding")} `, this.padding),
      el("label", {}, this.relu, ` ${phrase("lab.relu")}`),
      el("label", {}, this.painting, ` ${phrase("lab.paint")} `, this.brush),
    );
    const [picture, map] = [this.frame(this.image, 0), this.frame(this.map, 1)];
    const kernel = el(
      "figure",
      { class: "kernel" },
      this.cells,
      el("figcaption", { class: "caption" }, phrase("lab.kernel")),
    );
    const row = el(
      "div",
      { class: "lab-row" },
      el("figure", {}, picture, el("figcaption", { class: "caption" }, phrase("lab.picture"))),
      kernel,
      el("figure", {}, map, this.range),
    );
    this.root = el("div", { class: "lab" }, controls, row, this.equation);
    this.offer([]);
    this.layKernel();
    this.show();
  }

  get state(): Sliding {
    return this.sliding;
  }

  /** Kernels to choose from, after the usual ones. */
  offer(more: Preset[]): void {
    this.presets = [...PRESETS, ...more];
    const own = el("option", { value: -1 }, phrase("lab.own"));
    this.choice.replaceChildren(own, ...this.presets.map(({ name }, i) => el("option", { value: i }, name)));
    this.mark();
  }

  setPicture(picture: Plane): void {
    this.picture = picture;
    this.place = { row: -1, column: -1 };
    this.image.width = picture.width;
    this.image.height = picture.height;
    const image = new ImageData(picture.width, picture.height);
    picture.values.forEach((value, i) => {
      const grey = Math.round(255 * value);
      image.data.set([grey, grey, grey, 255], 4 * i);
    });
    this.image.getContext("2d")?.putImageData(image, 0, 0);
    this.show();
  }

  setKernel(rows: number[][]): void {
    this.sliding = { ...this.sliding, kernel: planeOf(rows) };
    this.layKernel();
    this.set({});
  }

  /** Takes what Python has set. */
  take(sliding: Sliding): void {
    this.sliding = sliding;
    this.layKernel();
    this.show();
  }

  private set(change: Partial<Sliding>): void {
    this.sliding = { ...this.sliding, ...change };
    this.show();
    this.changed(this.sliding);
  }

  private resize(size: number): void {
    const { kernel } = this.sliding;
    const [dy, dx] = [Math.floor((kernel.height - size) / 2), Math.floor((kernel.width - size) / 2)];
    const rows = Array.from({ length: size }, (_, i) =>
      Array.from({ length: size }, (_, j) => {
        const [y, x] = [i + dy, j + dx];
        const inside = y >= 0 && x >= 0 && y < kernel.height && x < kernel.width;
        return inside ? kernel.values[y * kernel.width + x] : 0;
      }),
    );
    this.setKernel(rows);
  }

  /** The kernel as cells to type or paint in. */
  private layKernel(): void {
    const { kernel, stride, padding, rectified } = this.sliding;
    this.stride.value = String(stride);
    this.padding.value = String(padding);
    this.relu.checked = rectified;
    this.size.value = String(kernel.height === kernel.width ? kernel.height : "");
    const rows = Array.from({ length: kernel.height }, (_, i) =>
      el("tr", {}, ...Array.from({ length: kernel.width }, (_, j) => el("td", {}, this.cell(i, j)))),
    );
    this.cells.classList.toggle("many", kernel.width > 5);
    this.cells.replaceChildren(...rows);
  }

  private cell(row: number, column: number): HTMLInputElement {
    const at = row * this.sliding.kernel.width + column;
    const cell = el("input", { type: "number", step: "any", "aria-label": phrase("cell.one", { row, column }) });
    const whole = this.sliding.kernel.values[at];
    cell.value = this.sliding.kernel.width > 3 ? compact(whole) : String(Number(whole.toPrecision(3)));
    cell.title = String(whole);
    const put = (value: number) => {
      const values = this.sliding.kernel.values.slice();
      values[at] = Number.isFinite(value) ? value : 0;
      this.set({ kernel: { ...this.sliding.kernel, values } });
    };
    cell.addEventListener("input", () => put(cell.valueAsNumber));
    const paint = (event: PointerEvent) => {
      if (!this.painting.checked || !event.buttons) return;
      event.preventDefault();
      cell.value = this.brush.value;
      put(this.brush.valueAsNumber);
    };
    cell.addEventListener("pointerdown", (event) => {
      cell.releasePointerCapture(event.pointerId);
      paint(event);
    });
    cell.addEventListener("pointerenter", paint);
    return cell;
  }

  /** Around the picture or the map: the kernel lies where the pointer is, arrow keys move it. */
  private frame(canvas: HTMLCanvasElement, index: number): HTMLElement {
    const label = phrase("lab.slide");
    const frame = el("div", { class: "slides", tabindex: 0, role: "group", "aria-label": label }, canvas);
    frame.append(this.boxes[index]);
    frame.addEventListener("pointermove", (event) => {
      const { y, x } = placeOf(event, canvas);
      const { picture, answer, sliding } = this;
      if (!picture || !answer) return;
      const { kernel, stride, padding } = sliding;
      if (index === 1) return this.slide(Math.floor(y * answer.height), Math.floor(x * answer.width));
      const along = (share: number, size: number, n: number) =>
        Math.round((share * size - 0.5 - (n - 1) / 2 + padding) / stride);
      this.slide(along(y, picture.height, kernel.height), along(x, picture.width, kernel.width));
    });
    frame.addEventListener("keydown", (event) => {
      const step = stepOf(event);
      if (step) this.slide(this.place.row + step[0], this.place.column + step[1]);
    });
    return frame;
  }

  private slide(row: number, column: number): void {
    if (!this.answer) return;
    this.place = {
      row: clamp(row, 0, this.answer.height - 1),
      column: clamp(column, 0, this.answer.width - 1),
    };
    this.tell();
  }

  private show(): void {
    const { picture, sliding } = this;
    const most = largest(sliding.kernel.values);
    const inputs = this.cells.querySelectorAll("input");
    sliding.kernel.values.forEach((value, i) => {
      const [paper, ink] = colourOf(this.diverging, value, most);
      if (inputs[i]) Object.assign(inputs[i].style, { background: paper, color: ink });
    });
    this.mark();
    if (!picture) return;
    this.answer = correlate(picture, sliding);
    const { height, width, values } = this.answer;
    if (!values.length) {
      say(this.range, phrase("lab.larger"));
      this.map.width = this.map.height = 1;
      this.equation.replaceChildren();
      return;
    }
    paintPlane(this.map, this.answer, this.diverging, largest(values));
    const [low, high] = values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
    say(this.range, phrase("lab.map", { height, width, low: short(low), high: short(high) }));
    this.map.setAttribute("aria-label", phrase("lab.mapAlt", { low: short(low), high: short(high) }));
    if (this.place.row < 0) this.place = { row: Math.floor(height / 2), column: Math.floor(width / 2) };
    this.slide(this.place.row, this.place.column);
  }

  /** The multiplication at the place. */
  private tell(): void {
    const { picture, answer, sliding, place } = this;
    if (!picture || !answer) return;
    const { kernel, stride, padding, rectified } = sliding;
    const under = windowAt(picture, sliding, place.row, place.column);
    const products = { ...under, values: under.values.map((v, i) => v * kernel.values[i]) };
    const sum = products.values.reduce((a, b) => a + b, 0);
    const value = answer.values[place.row * answer.width + place.column];
    const relu = rectified ? ` → ${phrase("lab.relu")} → ${short(value)}` : "";
    const figure = (plane: Plane, name: string) =>
      el("figure", {}, numbers(plane, this.diverging, name), el("figcaption", { class: "caption" }, name));
    this.equation.replaceChildren(
      figure(under, phrase("window")),
      el("span", {}, "×"),
      figure(kernel, phrase("kernel")),
      el("span", {}, "="),
      figure(products, phrase("products")),
      el("span", { class: "sum" }, phrase("sum", { sum: short(sum) }) + relu),
    );
    this.root.dataset.answer = `${place.row},${place.column} ${value}`;
    this.box(0, place.row * stride - padding, place.column * stride - padding, kernel.height, kernel.width, picture);
    this.box(1, place.row, place.column, 1, 1, answer);
  }

  private box(index: number, top: number, left: number, height: number, width: number, of: Plane): void {
    Object.assign(this.boxes[index].style, {
      top: `${(100 * top) / of.height}%`,
      left: `${(100 * left) / of.width}%`,
      height: `${(100 * height) / of.height}%`,
      width: `${(100 * width) / of.width}%`,
    });
  }

  /** Shows which of the presets the kernel is. */
  private mark(): void {
    const { kernel } = this.sliding;
    const same = ({ kernel: rows }: Preset) =>
      rows.length === kernel.height &&
      rows[0].length === kernel.width &&
      rows.flat().every((v, i) => Math.abs(v - kernel.values[i]) < 1e-6);
    this.choice.value = String(this.presets.findIndex(same));
  }
}

export function planeOf(rows: number[][]): Plane {
  return { height: rows.length, width: rows[0].length, values: new Float32Array(rows.flat()) };
}

export function rowsOf({ height, width, values }: Plane): number[][] {
  return Array.from({ length: height }, (_, i) => [...values.subarray(i * width, (i + 1) * width)]);
}

/** A number in as few letters as a small cell has room for: "-.013", "1.2". */
export function compact(value: number): string {
  const rounded = Math.abs(value) < 1 ? value.toFixed(3) : value.toPrecision(2);
  return String(Number(rounded)).replace(/^(-?)0\./, "$1.");
}

function whole(input: HTMLInputElement, least: number, most: number): number {
  const value = clamp(Math.round(input.valueAsNumber) || least, least, most);
  input.value = String(value);
  return value;
}

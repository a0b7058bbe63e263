/** Small tables of numbers on the colours of their values: windows, kernels, products. */
import { phrase } from "../panel/words";
import { el, short } from "./dom";

export interface Plane {
  height: number;
  width: number;
  values: Float32Array;
}

/** Numbers of more columns than this are drawn as pixels. */
const MOST = 7;

/** The colour of a value between -most and most, and the ink that can be read on it. */
export function colourOf(table: Uint8Array, value: number, most: number): [paper: string, ink: string] {
  const level = 128 + Math.round(127 * Math.max(-1, Math.min(1, value / (most || 1))));
  const [r, g, b] = table.subarray(3 * level, 3 * level + 3);
  const light = 0.3 * r + 0.59 * g + 0.11 * b > 140;
  return [`rgb(${r}, ${g}, ${b})`, light ? "#111" : "#fff"];
}

/** The largest value in size. */
export function largest(values: Float32Array): number {
  return values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
}

/** A plane as a table of its numbers, or as pixels where they would be too many to read. */
export function numbers(plane: Plane, diverging: Uint8Array, label: string): HTMLElement {
  const most = largest(plane.values);
  if (plane.width > MOST) {
    const canvas = el("canvas", { class: "pixels", role: "img", "aria-label": label });
    paintPlane(canvas, plane, diverging, most);
    return canvas;
  }
  const rows = Array.from({ length: plane.height }, (_, i) =>
    el(
      "tr",
      {},
      ...Array.from({ length: plane.width }, (_, j) => {
        const value = plane.values[i * plane.width + j];
        const [paper, ink] = colourOf(diverging, value, most);
        return el("td", { style: `background:${paper};color:${ink}` }, String(Number(value.toPrecision(2))));
      }),
    ),
  );
  return el(
    "table",
    { class: "numbers-table", "aria-label": phrase("numbers.label", { label, most: short(most) }) },
    ...rows,
  );
}

/** Draws a plane at its own size, blue to orange. */
export function paintPlane(canvas: HTMLCanvasElement, plane: Plane, diverging: Uint8Array, most: number): void {
  canvas.width = Math.max(1, plane.width);
  canvas.height = Math.max(1, plane.height);
  const image = new ImageData(canvas.width, canvas.height);
  plane.values.forEach((value, i) => {
    const level = 128 + Math.round(127 * Math.max(-1, Math.min(1, value / (most || 1))));
    image.data.set([diverging[3 * level], diverging[3 * level + 1], diverging[3 * level + 2], 255], 4 * i);
  });
  canvas.getContext("2d")?.putImageData(image, 0, 0);
}

/** Levels into pixels. The colour tables come from Python, so that a canvas and a figure agree. */
import type { Neuron } from "../panel/geometry";
import { bytes, floats, type Message } from "../panel/protocol";
import { drawnSize, isRow, paintBars, type Size } from "./bars";
import type { Plane } from "./numbers";

/** Tiles of a layer as levels 0 to 255: units [start, start + count) of total, each of planes x height x width. */
export interface Stack {
  layer: string;
  start: number;
  count: number;
  total: number;
  planes: number;
  height: number;
  width: number;
  colour: "rgb" | "diverging" | "sequential";
  weights: number;
  levels: Uint8Array;
  /** Two numbers a unit: the values of levels 0 and 255. */
  ranges: Float32Array;
  largest: Float32Array;
  mean: Float32Array;
  /** The share above 0. */
  active: Float32Array;
  /** Slice, row and column of the largest, three numbers a unit. */
  where: Float32Array;
  /** Slices side by side in a tile, a column between two of them; left out where there is one. */
  slices?: number;
}

export function decodeStack(head: Message, buffers: DataView[]): Stack {
  const [ranges, largest, mean, active, where] = buffers.slice(1).map(floats);
  return { ...(head as unknown as Stack), levels: bytes(buffers[0]), ranges, largest, mean, active, where };
}

/**
 * What the colours of maps run to: each map's own largest value, that of the layer, or one that stays; times a contrast.
 * Of two networks the larger of both, but for "own", which is for layers whose values have nothing to do with one another.
 */
export interface Scale {
  mode: "map" | "layer" | "fixed" | "own";
  fixed: number;
  contrast: number;
}

/** The largest value that any of a stack's units reaches, in size. */
export function reach(stack: Stack): number {
  return stack.ranges.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
}

/** The largest value of one unit, 0 where a stack does not hold it. */
function largest(stack: Stack, unit: number): number {
  return stack.ranges[2 * (unit - stack.start) + 1] ?? 0;
}

/** The value that has the last colour; `other` is the stack beside it, which is to have the same. */
export function top(stack: Stack, unit: number, scale: Scale, other?: Stack): number {
  const { mode, fixed, contrast } = scale;
  if (mode === "fixed") return fixed / contrast;
  const each = other && mode !== "own" ? [stack, other] : [stack];
  return Math.max(...each.map((s) => (mode === "layer" ? reach(s) : largest(s, unit)))) / contrast;
}

/** The colour of each level of a unit, if `most` is to have the last. */
function coloursOf(stack: Stack, unit: number, most: number | undefined): Uint8Array {
  const table = new Uint8Array(256);
  const n = unit - stack.start;
  const [low, high] = [stack.ranges[2 * n], stack.ranges[2 * n + 1]];
  if (!most || most === high) return table.map((_, level) => level);
  return table.map((_, level) => {
    const value = (low + ((high - low) * level) / 255) / most;
    const colour = stack.colour === "sequential" ? 255 * value : 128 + 127 * value;
    return Math.max(0, Math.min(255, Math.round(colour)));
  });
}

/** Writes plane `plane` of unit `unit` of a stack as RGBA into `out`; a colour stack has all its planes in one tile. `most` is the value that has the last colour; without it each unit has its own. A row of numbers becomes a chart of a drawn size. */
export function paint(
  stack: Stack,
  unit: number,
  plane: number,
  colours: Record<string, Uint8Array>,
  out: Uint8ClampedArray,
  most?: number,
  drawn: Size = drawnSize(stack),
): void {
  if (isRow(stack) && stack.colour !== "rgb") {
    const value = (column: number) => valueAt(stack, unit, plane, 0, column);
    const reached = most || stack.ranges[2 * (unit - stack.start) + 1];
    paintBars(value, stack.width, reached, stack.colour === "diverging", drawn, out);
    return;
  }
  const size = stack.height * stack.width;
  const at = ((unit - stack.start) * stack.planes + (stack.colour === "rgb" ? 0 : plane)) * size;
  const levels = stack.levels;
  const colourOf = coloursOf(stack, unit, most);
  if (stack.colour === "rgb") {
    for (let i = 0, o = 0; i < size; i++, o += 4) {
      out[o] = colourOf[levels[at + i]];
      out[o + 1] = colourOf[levels[at + size + i]];
      out[o + 2] = colourOf[levels[at + 2 * size + i]];
      out[o + 3] = 255;
    }
    return;
  }
  const table = colours[stack.colour];
  for (let i = 0, o = 0; i < size; i++, o += 4) {
    const c = 3 * colourOf[levels[at + i]];
    out[o] = table[c];
    out[o + 1] = table[c + 1];
    out[o + 2] = table[c + 2];
    out[o + 3] = between(stack, i % stack.width) ? 0 : 255;
  }
}

/** Whether a column lies between two slices. */
export function between({ slices = 1, width }: Stack, column: number): boolean {
  const each = (width + 1) / slices;
  return slices > 1 && column % each === each - 1;
}

/** How opaque the strongest place is on a picture. */
const MOST_OPAQUE = 0.85;

/** Pixels of the width of a chart that is drawn by itself. */
const WIDE = 480;

/** Draws one tile at its own size into a canvas, which takes that size; a row of numbers as a chart. */
export function drawTile(
  canvas: HTMLCanvasElement,
  stack: Stack,
  unit: number,
  plane: number,
  colours: Record<string, Uint8Array>,
  most?: number,
): void {
  const { width, height } = drawnSize(stack, WIDE);
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const image = new ImageData(width, height);
  paint(stack, unit, plane, colours, image.data, most, { width, height });
  canvas.getContext("2d")?.putImageData(image, 0, 0);
}

/** Makes a drawn tile as clear as its values are small, so that what lies below is seen where there is nothing to see. */
export function fade(canvas: HTMLCanvasElement, stack: Stack, unit: number, most?: number): void {
  const context = canvas.getContext("2d");
  if (!context || isRow(stack) || canvas.width !== stack.width) return;
  const image = context.getImageData(0, 0, canvas.width, canvas.height);
  const reached = most || Math.max(1e-9, ...stack.ranges.slice(2 * (unit - stack.start), 2 * (unit - stack.start) + 2));
  for (let i = 0; i < stack.height * stack.width; i++) {
    const value = valueAt(stack, unit, 0, Math.floor(i / stack.width), i % stack.width);
    image.data[4 * i + 3] = Math.round(255 * MOST_OPAQUE * Math.min(1, Math.abs(value) / reached));
  }
  context.putImageData(image, 0, 0);
}

/** Draws a plane of values from 0 to its largest at its own size, on a table of colours; a row of numbers as a chart. */
export function paintLevels(canvas: HTMLCanvasElement, plane: Plane, table: Uint8Array): void {
  const { values } = plane;
  const { height, width } = drawnSize(plane);
  const most = values.reduce((a, b) => Math.max(a, b), 1e-9);
  canvas.width = width;
  canvas.height = height;
  const image = new ImageData(width, height);
  if (isRow(plane)) {
    paintBars((column) => values[column], plane.width, most, false, { height, width }, image.data);
    canvas.getContext("2d")?.putImageData(image, 0, 0);
    return;
  }
  values.forEach((value, n) => {
    const c = 3 * Math.round((255 * Math.max(0, value)) / most);
    image.data.set([table[c], table[c + 1], table[c + 2], 255], 4 * n);
  });
  canvas.getContext("2d")?.putImageData(image, 0, 0);
}

/** The units of a stack that are strongest at a neuron's place, with their values. */
export function rankedAt(stack: Stack, { row, column }: Neuron, most: number): [channel: number, value: number][] {
  const values = Array.from({ length: stack.count }, (_, n): [number, number] => [
    stack.start + n,
    valueAt(stack, stack.start + n, 0, row, column),
  ]);
  return values.sort((a, b) => b[1] - a[1]).slice(0, most);
}

/** What each unit of a stack answers: at a neuron's place, or at most. */
export function strengths(stack: Stack, neuron: Neuron | null): ArrayLike<number> {
  if (!neuron) return stack.largest;
  const { start, count } = stack;
  return Array.from({ length: count }, (_, n) => valueAt(stack, start + n, 0, neuron.row, neuron.column));
}

/** All channels of a layer, those of a stack with the strongest first, then what is not in it. */
export function strongestFirst(stack: Stack, neuron: Neuron | null, channels: number): number[] {
  const values = strengths(stack, neuron);
  const own = Array.from({ length: stack.count }, (_, n) => n).sort((a, b) => values[b] - values[a]);
  const held = own.map((n) => stack.start + n);
  const others = Array.from({ length: channels }, (_, channel) => channel);
  return [...held, ...others.filter((channel) => channel < stack.start || channel >= stack.start + stack.count)];
}

/** The value behind a level of one unit. */
export function valueAt(stack: Stack, unit: number, plane: number, row: number, column: number): number {
  const n = unit - stack.start;
  const at = ((n * stack.planes + plane) * stack.height + row) * stack.width + column;
  const [low, high] = [stack.ranges[2 * n], stack.ranges[2 * n + 1]];
  return low + ((high - low) * stack.levels[at]) / 255;
}

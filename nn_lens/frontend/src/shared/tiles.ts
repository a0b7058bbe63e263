/** Levels into pixels. The colour tables come from Python, so that a canvas and a figure agree. */
import type { Stack } from "./protocol";

/** What the colours of maps run to: each map's own largest value, that of the layer, or one that stays; times a contrast. */
export interface Scale {
  mode: "map" | "layer" | "fixed";
  fixed: number;
  contrast: number;
}

/** The largest value that any of a stack's units reaches, in size. */
export function reach(stack: Stack): number {
  return stack.ranges.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
}

/** The value that has the last colour. */
export function top(stack: Stack, unit: number, scale: Scale): number {
  const own = stack.ranges[2 * (unit - stack.start) + 1];
  return (scale.mode === "fixed" ? scale.fixed : scale.mode === "layer" ? reach(stack) : own) / scale.contrast;
}

/** The colour of each level of a unit. */
function coloursOf(stack: Stack, unit: number, scale: Scale | undefined): Uint8Array {
  const table = new Uint8Array(256);
  const n = unit - stack.start;
  const [low, high] = [stack.ranges[2 * n], stack.ranges[2 * n + 1]];
  const most = scale && top(stack, unit, scale);
  if (!scale || !most || (scale.mode === "map" && scale.contrast === 1)) return table.map((_, level) => level);
  return table.map((_, level) => {
    const value = (low + ((high - low) * level) / 255) / most;
    const colour = stack.colour === "diverging" ? 128 + 127 * value : 255 * value;
    return Math.max(0, Math.min(255, Math.round(colour)));
  });
}

/** Writes plane `plane` of unit `unit` of a stack as RGBA into `out`; a colour stack has all its planes in one tile. */
export function paint(
  stack: Stack,
  unit: number,
  plane: number,
  colours: Record<string, Uint8Array>,
  out: Uint8ClampedArray,
  scale?: Scale,
): void {
  const size = stack.height * stack.width;
  const at = ((unit - stack.start) * stack.planes + (stack.colour === "rgb" ? 0 : plane)) * size;
  const levels = stack.levels;
  if (stack.colour === "rgb") {
    for (let i = 0, o = 0; i < size; i++, o += 4) {
      out[o] = levels[at + i];
      out[o + 1] = levels[at + size + i];
      out[o + 2] = levels[at + 2 * size + i];
      out[o + 3] = 255;
    }
    return;
  }
  const table = colours[stack.colour];
  const colourOf = coloursOf(stack, unit, scale);
  for (let i = 0, o = 0; i < size; i++, o += 4) {
    const c = 3 * colourOf[levels[at + i]];
    out[o] = table[c];
    out[o + 1] = table[c + 1];
    out[o + 2] = table[c + 2];
    out[o + 3] = 255;
  }
}

/** Draws one tile at its own size into a canvas, which takes that size. */
export function drawTile(
  canvas: HTMLCanvasElement,
  stack: Stack,
  unit: number,
  plane: number,
  colours: Record<string, Uint8Array>,
  scale?: Scale,
): void {
  if (canvas.width !== stack.width || canvas.height !== stack.height) {
    canvas.width = stack.width;
    canvas.height = stack.height;
  }
  const image = new ImageData(stack.width, stack.height);
  paint(stack, unit, plane, colours, image.data, scale);
  canvas.getContext("2d")?.putImageData(image, 0, 0);
}

/** The value behind a level of one unit. */
export function valueAt(stack: Stack, unit: number, plane: number, row: number, column: number): number {
  const n = unit - stack.start;
  const at = ((n * stack.planes + plane) * stack.height + row) * stack.width + column;
  const [low, high] = [stack.ranges[2 * n], stack.ranges[2 * n + 1]];
  return low + ((high - low) * stack.levels[at]) / 255;
}

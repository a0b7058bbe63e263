/** Levels into pixels. The colour tables come from Python, so that a canvas and a figure agree. */
import type { Stack } from "./protocol";

/** Writes plane `plane` of unit `unit` of a stack as RGBA into `out`; a colour stack has all its planes in one tile. */
export function paint(
  stack: Stack,
  unit: number,
  plane: number,
  colours: Record<string, Uint8Array>,
  out: Uint8ClampedArray,
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
  for (let i = 0, o = 0; i < size; i++, o += 4) {
    const c = 3 * levels[at + i];
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
): void {
  if (canvas.width !== stack.width || canvas.height !== stack.height) {
    canvas.width = stack.width;
    canvas.height = stack.height;
  }
  const image = new ImageData(stack.width, stack.height);
  paint(stack, unit, plane, colours, image.data);
  canvas.getContext("2d")?.putImageData(image, 0, 0);
}

/** The value behind a level of one unit. */
export function valueAt(stack: Stack, unit: number, plane: number, row: number, column: number): number {
  const n = unit - stack.start;
  const at = ((n * stack.planes + plane) * stack.height + row) * stack.width + column;
  const [low, high] = [stack.ranges[2 * n], stack.ranges[2 * n + 1]];
  return low + ((high - low) * stack.levels[at]) / 255;
}

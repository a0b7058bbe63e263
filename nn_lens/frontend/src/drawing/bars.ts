/** Rows of numbers as charts: a bar, or where there are many an area, from zero to each number. */

/** The grey of the paper, which is that of zero in the diverging colours. */
const PAPER = 247;
const [ABOVE, BELOW, AXIS] = [
  [214, 106, 16],
  [47, 111, 176],
  [176, 176, 176],
];
export const [ABOVE_COLOUR, BELOW_COLOUR] = [ABOVE, BELOW].map((c) => `rgb(${c})`);
/** Bars at least this wide have a gap between them. */
const APART = 4;

export interface Size {
  height: number;
  width: number;
}

/** Whether tiles of this size are charts. */
export function isRow({ height, width }: Size): boolean {
  return height === 1 && width > 1;
}

/** The pixels that a tile is drawn in: a row as a chart about `wide` pixels wide, all else at its own size. */
export function drawnSize(size: Size, wide = 160): Size {
  if (!isRow(size)) return { height: size.height, width: size.width };
  const each = Math.floor(wide / size.width);
  return { height: Math.round(wide / 4), width: each ? each * size.width : wide };
}

/** Writes a row of numbers as RGBA into `out`, of a drawn size. `most` fills it; `signed`: zero is in the middle. */
export function paintBars(
  value: (column: number) => number,
  count: number,
  most: number,
  signed: boolean,
  { height, width }: Size,
  out: Uint8ClampedArray,
): void {
  const zero = signed ? Math.floor((height - 1) / 2) : height - 1;
  const reach = (v: number) => Math.round(zero * Math.max(-1, Math.min(1, v / (most || 1))));
  const apart = width / count >= APART;
  for (let x = 0; x < width; x++) {
    const first = Math.floor((x * count) / width);
    const stop = Math.max(first + 1, Math.ceil(((x + 1) * count) / width));
    let [high, low] = [0, 0];
    for (let i = first; i < Math.min(stop, count); i++) {
      high = Math.max(high, value(i));
      low = Math.min(low, value(i));
    }
    const gap = apart && Math.floor(((x + 1) * count) / width) > first && x < width - 1;
    const [top, bottom] = gap ? [zero, zero] : [zero - reach(high), zero - reach(low)];
    for (let y = 0; y < height; y++) {
      const o = 4 * (y * width + x);
      const bar = y < zero ? (y >= top ? ABOVE : null) : y <= bottom ? BELOW : null;
      const ink = y === zero ? AXIS : bar;
      for (let c = 0; c < 3; c++) out[o + c] = ink?.[c] ?? PAPER;
      out[o + 3] = 255;
    }
  }
}

/** A colour for each number, by the golden angle: neighbouring ones look apart. */
export function colourOf(n: number, saturation = 70): string {
  return `hsl(${(n * 137.5) % 360} ${saturation}% 49%)`;
}

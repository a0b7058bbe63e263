/** Kernels to begin with. */

import { phrase } from "../panel/words";

export interface Preset {
  name: string;
  kernel: number[][];
}

export const PRESETS: Preset[] = [
  {
    name: phrase("preset.laplace"),
    kernel: [
      [0, 1, 0],
      [1, -4, 1],
      [0, 1, 0],
    ],
  },
  {
    name: phrase("preset.sobelX"),
    kernel: [
      [-1, 0, 1],
      [-2, 0, 2],
      [-1, 0, 1],
    ],
  },
  {
    name: phrase("preset.sobelY"),
    kernel: [
      [-1, -2, -1],
      [0, 0, 0],
      [1, 2, 1],
    ],
  },
  { name: phrase("preset.gauss"), kernel: made(5, (y, x) => Math.exp(-(y * y + x * x) / 2), true) },
  {
    name: phrase("preset.gabor"),
    kernel: made(9, (y, x) => Math.exp(-(y * y + x * x) / 8) * Math.cos((Math.PI * x) / 2)),
  },
  {
    name: phrase("preset.one"),
    kernel: [
      [0, 0, 0],
      [0, 1, 0],
      [0, 0, 0],
    ],
  },
];

function made(size: number, value: (y: number, x: number) => number, sumsToOne = false): number[][] {
  const middle = (size - 1) / 2;
  const rows = Array.from({ length: size }, (_, i) =>
    Array.from({ length: size }, (_, j) => value(i - middle, j - middle)),
  );
  const sum = sumsToOne ? rows.flat().reduce((a, b) => a + b, 0) : 1;
  return rows.map((row) => row.map((v) => Number((v / sum).toFixed(4))));
}

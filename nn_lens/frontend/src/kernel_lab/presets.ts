/** Kernels to begin with. */

export interface Preset {
  name: string;
  kernel: number[][];
}

export const PRESETS: Preset[] = [
  {
    name: "edges (Laplace)",
    kernel: [
      [0, 1, 0],
      [1, -4, 1],
      [0, 1, 0],
    ],
  },
  {
    name: "left to right (Sobel)",
    kernel: [
      [-1, 0, 1],
      [-2, 0, 2],
      [-1, 0, 1],
    ],
  },
  {
    name: "top to bottom (Sobel)",
    kernel: [
      [-1, -2, -1],
      [0, 0, 0],
      [1, 2, 1],
    ],
  },
  { name: "blur (Gauss)", kernel: made(5, (y, x) => Math.exp(-(y * y + x * x) / 2), true) },
  { name: "stripes (Gabor)", kernel: made(9, (y, x) => Math.exp(-(y * y + x * x) / 8) * Math.cos((Math.PI * x) / 2)) },
  {
    name: "nothing (one)",
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

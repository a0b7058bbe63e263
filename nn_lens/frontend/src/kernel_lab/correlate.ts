/** A kernel that slides over one channel, as a convolution layer does it; the other side is nn_lens/engine/reading/arithmetic.py. */
import type { Plane } from "../drawing/numbers";

export interface Sliding {
  kernel: Plane;
  stride: number;
  padding: number;
  rectified: boolean;
}

/** How many places there are along an axis; 0 where the kernel is larger than the padded picture. */
function places(size: number, kernel: number, { stride, padding }: Sliding): number {
  return Math.max(0, Math.floor((size + 2 * padding - kernel) / stride) + 1);
}

/** What lies under the kernel at a place, zeros outside the picture. */
export function windowAt(picture: Plane, sliding: Sliding, row: number, column: number): Plane {
  const { height, width } = sliding.kernel;
  const values = new Float32Array(height * width);
  for (let i = 0; i < height; i++) {
    for (let j = 0; j < width; j++) {
      const y = row * sliding.stride - sliding.padding + i;
      const x = column * sliding.stride - sliding.padding + j;
      const inside = y >= 0 && x >= 0 && y < picture.height && x < picture.width;
      values[i * width + j] = inside ? picture.values[y * picture.width + x] : 0;
    }
  }
  return { height, width, values };
}

/** The answers at all places. */
export function correlate(picture: Plane, sliding: Sliding): Plane {
  const { kernel, stride, padding, rectified } = sliding;
  const height = places(picture.height, kernel.height, sliding);
  const width = places(picture.width, kernel.width, sliding);
  const values = new Float32Array(height * width);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      let sum = 0;
      const [top, left] = [row * stride - padding, column * stride - padding];
      for (let i = Math.max(0, -top); i < kernel.height && top + i < picture.height; i++) {
        const at = (top + i) * picture.width + left;
        for (let j = Math.max(0, -left); j < kernel.width && left + j < picture.width; j++)
          sum += picture.values[at + j] * kernel.values[i * kernel.width + j];
      }
      values[row * width + column] = rectified ? Math.max(0, sum) : sum;
    }
  }
  return { height, width, values };
}

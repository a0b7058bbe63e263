/** Where neurons are on the picture: places are shares of its height and width, neurons (row, column). */

/** Shares of the picture's height and width. */
export interface Place {
  y: number;
  x: number;
}

export interface Neuron {
  row: number;
  column: number;
}

/** The input boxes of a layer's neurons in input pixels, (rows, columns) each: of neuron (0, 0), and how they go on. Along an axis of which each sees all, the stride is 0. */
export interface Field {
  size: [number, number];
  stride: [number, number];
  offset: [number, number];
  /** Of a row of neurons that goes on unevenly, the columns of each: where they start and stop. */
  each?: [number, number][] | null;
}

/** A layer's map, (rows, columns), in an input of (channels, height, width); `field` is not known before it is asked for. */
export interface Frame {
  grid: [number, number];
  input: number[];
  field?: Field;
}

export function clamp(value: number, low: number, high: number): number {
  return Math.max(low, Math.min(high, value));
}

/** The neuron whose box has its middle nearest to a place. */
export function neuronAt({ y, x }: Place, { grid, input, field }: Frame): Neuron {
  const along = (share: number, axis: 0 | 1) => {
    const pixel = share * input[1 + axis];
    const index = field?.stride[axis]
      ? (pixel - field.offset[axis] - field.size[axis] / 2) / field.stride[axis]
      : share * grid[axis] - 0.5;
    return clamp(Math.round(index), 0, grid[axis] - 1);
  };
  return { row: along(y, 0), column: along(x, 1) };
}

/** The middle of what a neuron sees; of neurons that see all alike, where they stand among their own. */
export function middleOf({ row, column }: Neuron, { grid, input, field }: Frame): Place {
  const share = (index: number, axis: 0 | 1) =>
    field?.stride[axis]
      ? (field.offset[axis] + field.stride[axis] * index + field.size[axis] / 2) / input[1 + axis]
      : (index + 0.5) / grid[axis];
  return { y: share(row, 0), x: share(column, 1) };
}

/** What a neuron sees, as shares of the picture: top, left, bottom, right. */
export function boxOf({ row, column }: Neuron, { input }: Frame, field: Field): [number, number, number, number] {
  const share = (index: number, axis: 0 | 1) => {
    const start = field.offset[axis] + field.stride[axis] * index;
    const size = input[1 + axis];
    return [Math.max(0, start) / size, Math.min(size, start + field.size[axis]) / size];
  };
  const own = field.each?.[column];
  const [top, bottom] = share(row, 0);
  const [left, right] = own ? own.map((at) => at / input[2]) : share(column, 1);
  return [top, left, bottom, right];
}

/** What the place of a pointer is in an element. */
export function placeOf(event: MouseEvent, element: Element): Place {
  const box = element.getBoundingClientRect();
  return { y: (event.clientY - box.top) / box.height, x: (event.clientX - box.left) / box.width };
}

/** The neuron that a place of a map's own picture lies on. */
export function cellAt({ y, x }: Place, rows: number, columns: number): Neuron {
  return { row: clamp(Math.floor(y * rows), 0, rows - 1), column: clamp(Math.floor(x * columns), 0, columns - 1) };
}

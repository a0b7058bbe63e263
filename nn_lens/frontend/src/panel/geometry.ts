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
  /** By axis, where the boxes of each neuron start and stop; null along an axis of which size, stride and offset tell. */
  each?: ([number, number][] | null)[];
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
    const each = field?.each?.[axis];
    if (field?.stride[axis] && each) return nearest(each, pixel);
    const index = field?.stride[axis]
      ? (pixel - field.offset[axis] - field.size[axis] / 2) / field.stride[axis]
      : share * grid[axis] - 0.5;
    return clamp(Math.round(index), 0, grid[axis] - 1);
  };
  return { row: along(y, 0), column: along(x, 1) };
}

/** Which of some boxes has its middle nearest to a pixel. */
function nearest(boxes: [number, number][], pixel: number): number {
  const apart = boxes.map(([start, stop]) => Math.abs((start + stop) / 2 - pixel));
  return apart.indexOf(Math.min(...apart));
}

/** The middle of what a neuron sees; of neurons that see all alike, where they stand among their own. */
export function middleOf({ row, column }: Neuron, { grid, input, field }: Frame): Place {
  const share = (index: number, axis: 0 | 1) => {
    if (!field?.stride[axis]) return (index + 0.5) / grid[axis];
    const own = field.each?.[axis]?.[index];
    const middle = own ? (own[0] + own[1]) / 2 : field.offset[axis] + field.stride[axis] * index + field.size[axis] / 2;
    return middle / input[1 + axis];
  };
  return { y: share(row, 0), x: share(column, 1) };
}

/** What a neuron sees, as shares of the picture: top, left, bottom, right. */
export function boxOf({ row, column }: Neuron, { input }: Frame, field: Field): [number, number, number, number] {
  const share = (index: number, axis: 0 | 1) => {
    const size = input[1 + axis];
    const own = field.each?.[axis]?.[index];
    if (own) return own.map((at) => at / size);
    const start = field.offset[axis] + field.stride[axis] * index;
    return [Math.max(0, start) / size, Math.min(size, start + field.size[axis]) / size];
  };
  const [[top, bottom], [left, right]] = [share(row, 0), share(column, 1)];
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

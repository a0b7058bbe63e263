/** What every panel is told of: messages, and the traits that Python sets. A view has the type of its own answers. */

/** A message from the kernel; `weights` says with which its answer was made. */
export interface Message {
  type: string;
  id?: number;
  what?: string;
  weights?: number;
  [name: string]: unknown;
}

/** Weights that were recorded in a training. */
export interface Step {
  step: number;
  weights: number;
}

export interface Layer {
  name: string;
  kind: string;
  shape: number[];
  channels: number;
  grid: [number, number];
  /** Planes, height and width of a filter, null where the layer has none. */
  filter: [number, number, number] | null;
}

export interface Network {
  name: string;
  input: number[];
  layers: Layer[];
}

/** A unit: a channel, or the neuron at a row and column of it. */
export interface Selection {
  layer: string;
  channel: number;
  row: number | null;
  column: number | null;
}

export interface Picture {
  key: string;
  name: string;
  data: DataView;
}

/** A picture to choose from; an exported page has its name only. */
export interface Sample {
  name: string;
  data: DataView;
}

export function bytes(view: DataView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

/** Numbers of a message's buffer, which need not begin at a multiple of four bytes. */
export function floats(view: DataView): Float32Array {
  return new Float32Array(bytes(view).slice().buffer);
}

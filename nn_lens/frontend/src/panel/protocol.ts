/** What every panel is told of: messages, and the traits that Python sets. A view has the type of its own answers. */

import type { InputKind } from "./words";

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
  parameters: number;
  /** Whether each of its units is a class of the network's answer. */
  classes: boolean;
  /** Rows and columns of what is seen of a map. */
  grid: [number, number];
  /** How many places a map has along each of its own dimensions. */
  places: number[];
  /** Planes, height and width of a filter, null where the layer has none. */
  filter: [number, number, number] | null;
}

export interface Network {
  name: string;
  /** Which object of the kernel it is, as the kernel counts them; "" in an exported page. */
  model: string;
  /** What it reads, the shape of that, and the same as channels, rows and columns; of a volume the number of slices. */
  kind: InputKind;
  shape: number[];
  input: number[];
  depth: number | null;
  /** What the numbers of its answer mean, null where they are not one for each class. */
  answer: string | null;
  layers: Layer[];
  /** Of how many samples evidence looks at crops, for want of a dataset; 0 where there is one. */
  crops: number;
  /** The layers in a few groups, by the modules that hold them. */
  groups: { name: string; layers: string[] }[];
  /** The names of the classes, none where they have none. */
  labels: string[];
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

/** A picture to choose from; an exported page has its name only. `own`: whether `net.samples` has it. */
export interface Sample {
  name: string;
  own: boolean;
  data: DataView;
}

export function bytes(view: DataView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

/** Numbers of a message's buffer, which need not begin at a multiple of four bytes. */
export function floats(view: DataView): Float32Array {
  return new Float32Array(bytes(view).slice().buffer);
}

/** What goes between the browser and the kernel; the other side is nn_lens/widgets/{questions,messages}.py. */

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

export interface Sample {
  name: string;
  data: DataView;
}

export type Colour = "rgb" | "diverging" | "sequential";

/** Tiles of a layer as levels 0 to 255: units [start, start + count) of total, each of planes x height x width. */
export interface Stack {
  layer: string;
  start: number;
  count: number;
  total: number;
  planes: number;
  height: number;
  width: number;
  colour: Colour;
  weights: number;
  levels: Uint8Array;
  /** Two numbers a unit: the values of levels 0 and 255. */
  ranges: Float32Array;
  largest: Float32Array;
  mean: Float32Array;
  /** The share above 0. */
  active: Float32Array;
  /** Row and column of the largest, two numbers a unit. */
  where: Float32Array;
}

/** The input boxes of a layer's neurons in input pixels, (rows, columns) each: of neuron (0, 0), and how they go on. */
export interface Field {
  size: [number, number];
  stride: [number, number];
  offset: [number, number];
}

/** Maximizing images of some units, side by side in one bitmap. */
export interface Page {
  layer: string;
  channels: number[];
  height: number;
  width: number;
  step: number;
  finished: boolean;
  activations: number[];
  notes: string[];
  weights: number;
  sheet: ImageBitmap;
}

/** A number about a maximizing image that explains itself; null is not to be had. */
export interface Badge {
  name: string;
  value: number | null;
  text: string;
  warning: boolean;
}

/** Real pictures from the one that moves a unit least to the one that moves it most, side by side in one bitmap. */
export interface Spectrum {
  layer: string;
  channel: number;
  count: number;
  total: number | null;
  skipped: number;
  finished: boolean;
  tiles: number;
  activations: number[];
  liveliness: Badge;
  weights: number;
  sheet: ImageBitmap | null;
  /** The values below which 0 to 100 percent of the pictures lie. */
  quantiles: Float32Array;
  counts: Float32Array;
  edges: Float32Array;
}

/** What in the picture speaks for a target, by one method: its map and that of shuffled weights, or why there is none. */
export interface Attribution {
  method: string;
  reason?: string;
  target: string;
  alt: string;
  tiles: number;
  similarity: number | null;
  error: number | null;
  sheet: ImageBitmap | null;
}

/** The classes whose scores move most when the unit's answers are scaled, and what becomes of the accuracy. */
export interface Ablation {
  scale: number;
  alt: string;
  rows: { label: string; before: number; after: number; control: number | null }[];
  accuracy?: { count: number; change: number; control: number | null; worst: string; worstChange: number };
}

/** The units that feed the selected one, strongest first; their maximizing images side by side, once they are there. */
export interface Incoming {
  units: { layer: string; channel: number; weight: number; picture: boolean }[];
  count: number;
  through: string;
  alt: string;
  sheet: ImageBitmap | null;
}

/** The pictures that move the selected unit most, and those that move random directions of its layer most, row by row. */
export interface Beside {
  count: number;
  rows: { name: string; activations: number[]; apart: number | null }[];
  sheet: ImageBitmap | null;
}

/** Pictures of the dataset laid out by what a layer says of them. */
export interface Embedding {
  layer: string;
  method: string;
  /** Thumbnails in a row of the sheet, 0 without one. */
  columns: number;
  height: number;
  width: number;
  skipped: number;
  alt: string;
  finished: boolean;
  /** x, y of each from 0 to 1. */
  points: Float32Array;
  /** Their numbers in the dataset. */
  indices: Int32Array;
  sheet: ImageBitmap | null;
}

/** How one neuron of a convolution comes to its answer: its strongest inputs, and the rest added up. */
export interface Arithmetic {
  unit: string;
  inputs: { number: number; sum: number }[];
  height: number;
  width: number;
  rest: number;
  restCount: number;
  bias: number;
  value: number;
  then: [layer: string, value: number][];
  alt: string;
  /** Windows of all inputs, kernels of all, products of all. */
  values: Float32Array;
}

/** Which unit of a layer is strongest at each place of the picture, and the units in groups that answer together. */
export interface Blocks {
  layer: string;
  height: number;
  width: number;
  /** Those that are strongest somewhere, the one with most places first; of the first `drawn` images are made. */
  units: number[];
  drawn: number;
  /** What each group explains of all answers, and what all do of the answers' squares. */
  shares: number[];
  explained: number;
  alt: string;
  weights: number;
  strongest: Int32Array;
  values: Float32Array;
  /** A map for each group. */
  maps: Float32Array;
  /** What each group wants most, side by side. */
  sheet: ImageBitmap | null;
}

export type Score = [label: string, probability: number];

/** The kinds of things that the browser asks for; one question of each kind is open at a time. */
export type What =
  | "maps"
  | "filters"
  | "scores"
  | "page"
  | "negative"
  | "here"
  | "field"
  | "arithmetic"
  | "blocks"
  | "examples"
  | "trust"
  | "attribution"
  | "ablation"
  | "incoming"
  | "directions"
  | "embedding";

export function bytes(view: DataView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

/** Numbers of a message's buffer, which need not begin at a multiple of four bytes. */
export function floats(view: DataView): Float32Array {
  return new Float32Array(bytes(view).slice().buffer);
}

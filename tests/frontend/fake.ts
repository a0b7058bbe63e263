/** A widget's model without a kernel, and a page without a browser: what is sent is kept, frames are drawn by hand. */
import type { AnyModel } from "@anywidget/types";
import { Store } from "../../nn_lens/frontend/src/panel/store";
import { DECODERS } from "../../nn_lens/frontend/src/views";

type Call = (...args: never[]) => void;

const frames: (() => void)[] = [];
let now = 0;

/** Puts what a page has in place: animation frames, a clock that is set by hand, pictures that are their own bytes. */
export function page(): void {
  const root = globalThis as Record<string, unknown>;
  root.window = globalThis;
  root.requestAnimationFrame = (call: () => void) => frames.push(call);
  root.cancelAnimationFrame = () => {};
  root.createImageBitmap = async (blob: Blob) => ({ width: 12, height: 1, size: blob.size, close() {} });
  root.document = { createElement: () => new FakeImage() };
  performance.now = () => now;
}

/** An image element, loaded as soon as it has an address. */
export class FakeImage {
  static milliseconds = (): number => 0;
  width = 1;
  height = 1;
  onload?: () => void;
  setAttribute(): void {}
  append(): void {}
  set src(_: string) {
    setTimeout(() => this.onload?.(), FakeImage.milliseconds());
  }
}

/** Draws the frames that are asked for, and lets what they began come to its end. */
export async function frame(milliseconds = 100): Promise<void> {
  now += milliseconds;
  for (const call of frames.splice(0)) call();
  await new Promise((done) => setTimeout(done, 1));
}

/** Draws until nothing changes any more. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 10; i++) await frame();
}

export type Sent = { type: string; id: number; what: string } & Record<string, unknown>;

export class FakeModel {
  readonly sent: Sent[] = [];
  private readonly calls = new Map<string, Set<Call>>();

  constructor(readonly traits: Record<string, unknown>) {}

  get(name: string): unknown {
    return this.traits[name];
  }

  set(name: string, value: unknown): void {
    this.traits[name] = value;
  }

  save_changes(): void {}

  on(event: string, call: Call): void {
    this.calls.set(event, (this.calls.get(event) ?? new Set()).add(call));
  }

  off(event: string, call: Call): void {
    this.calls.get(event)?.delete(call);
  }

  send(content: Sent): void {
    this.sent.push(structuredClone(content));
  }

  /** Python sets a trait. */
  sets(name: string, value: unknown): void {
    this.traits[name] = value;
    this.fire(`change:${name}`);
  }

  /** The kernel says something. */
  says(message: object, ...buffers: ArrayBuffer[]): void {
    this.fire(
      "msg:custom",
      message,
      buffers.map((buffer) => new DataView(buffer)),
    );
  }

  /** All questions of a kind so far. */
  wants(what: string): Sent[] {
    return this.sent.filter((message) => message.type === "want" && message.what === what);
  }

  /** Answers a question with messages, and ends it; made with the present weights, if no others are named. */
  answers({ id, what, weights = this.traits._weights }: Sent, ...heads: object[]): void {
    for (const head of heads) this.says({ type: what, id, weights, ...head }, ...BUFFERS);
    this.says({ type: "done", id, what, weights });
  }

  private fire(event: string, ...args: unknown[]): void {
    for (const call of this.calls.get(event) ?? []) call(...(args as never[]));
  }
}

/** Enough for every decoder: levels, then five arrays of numbers. */
const BUFFERS = [1, 2, 3, 4, 5, 6].map(() => new Float32Array(64).buffer);

function layer(name: string, channels: number, grid: [number, number], filter: number[] | null) {
  return { parameters: 10, classes: false, name, kind: "Conv2d", shape: [channels, ...grid], channels, grid, places: grid, filter };
}

export function traits(changes: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    _kind: "Lens",
    _views: [
      "picture",
      "unit",
      "filters",
      "maximization",
      "activations",
      "here",
      "arithmetic",
      "blocks",
      "kernel",
      "examples",
      "attribution",
      "contributions",
      "ablation",
      "incoming",
      "directions",
      "embedding",
      "mistakes",
    ],
    _network: {
      name: "Small",
      model: "140",
      kind: "picture",
      shape: [3, 32, 48],
      input: [3, 32, 48],
      depth: null,
      answer: "logits",
      labels: [],
      crops: 0,
      groups: [
        { name: "conv", layers: ["conv", "relu"] },
        { name: "deep", layers: ["deep"] },
      ],
      layers: [
        layer("conv", 30, [16, 24], [3, 5, 5]),
        layer("relu", 30, [16, 24], null),
        layer("deep", 8, [4, 6], [30, 3, 3]),
      ],
    },
    _colours: {},
    _samples: [{ name: "cat", data: new DataView(new ArrayBuffer(0)), own: true }],
    _selection: { layer: "conv", channel: 3, row: null, column: null },
    _picture: { key: "picture 1", name: "cat", data: new DataView(new ArrayBuffer(0)) },
    _weights: 1,
    _steps: [],
    _compared: "",
    _counterparts: {},
    selected: [],
    step: null,
    slice: 0.5,
    snapshot: true,
    view: "",
    ...changes,
  };
}

/** A store on a fake model, with a view that subscribes, so that it asks. */
export function opened(changes: Record<string, unknown> = {}, leader?: Store): { model: FakeModel; store: Store } {
  const model = new FakeModel(traits(changes));
  const store = new Store(model as unknown as AnyModel, DECODERS, leader);
  store.subscribe(() => {});
  return { model, store };
}

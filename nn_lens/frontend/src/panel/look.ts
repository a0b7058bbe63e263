/**
 * How a panel is looked at: the selection, the place, the colours, what evidence is asked for. One per panel, shared by the
 * networks that it shows; layers are those of the first. What Python can set and read, it is told of.
 */
import type { AnyModel } from "@anywidget/types";
import type { Scale } from "../drawing/tiles";
import type { Rather } from "../views/target";
import type { Neuron, Place } from "./geometry";
import type { Selection } from "./protocol";
import { homeOf } from "./questions";

/** Milliseconds until Python is told of a selection: each message costs JupyterLab, which shows that the kernel is busy. */
const TELL = 50;

/** What changes how things look, but not what is selected. */
export interface Looks {
  place: Place | null;
  /** What the colours of activation maps run to. */
  colourScale: Scale;
  /** The rank of the class that evidence is asked for, null for the selected unit. */
  target: number | null;
  /** The class that it is compared with: this rather than that. */
  rather: Rather | null;
  /** How the selected unit is steered: 0 is off, 1 as it is. */
  factor: number;
  /** Whether it is steered at the locked place only. */
  here: boolean;
  /** How a layer's units follow one another: by number, or those first that answer most to the picture, or at the locked place. */
  order: Order;
}

export type Order = "number" | "strongest";

export class Look implements Looks {
  layer = "";
  channel = 0;
  place: Place | null = null;
  /** Whether the place stays. */
  locked = false;
  colourScale: Scale = { mode: "map", fixed: 1, contrast: 1 };
  target: number | null = 0;
  rather: Rather | null = null;
  factor: number;
  here = false;
  order: Order = "number";
  /** Maps side by side, of which Shift and an arrow key pass a row. */
  across = 8;

  /** The neuron that the place was chosen by, null where it was chosen on the picture. */
  private pinned: (Neuron & { layer: string }) | null = null;
  private readonly listeners = new Set<() => void>();
  private readonly offs: (() => void)[] = [];
  private told = "";
  private telling = 0;

  /** `middle` is where a neuron of the first network looks. */
  constructor(
    private readonly model: AnyModel,
    private readonly middle: (layer: string, neuron: Neuron) => Place,
  ) {
    this.factor = model.get("_stored") ? 0 : 1; // an exported page keeps what the answer is without the unit
    const taken = () => this.take(model.get("_selection"));
    const changed = () => this.changed();
    for (const [event, call] of [
      ["change:_selection", taken],
      ["change:selected", changed],
      ["change:view", changed],
      ["change:slice", changed],
    ] as const) {
      model.on(event, call);
      this.offs.push(() => model.off(event, call));
    }
  }

  close(): void {
    clearTimeout(this.telling);
    for (const off of this.offs) off();
    this.listeners.clear();
  }

  /** Looks where Python looks, once `middle` can be asked. */
  begin(): void {
    if (!this.told) this.take(this.model.get("_selection"));
  }

  /** Calls `changed` after each change; gives back how to end that. */
  subscribe(changed: () => void): () => void {
    this.listeners.add(changed);
    return () => this.listeners.delete(changed);
  }

  select(layer: string, channel: number): void {
    if (layer === this.layer && channel === this.channel) return;
    this.layer = layer;
    this.channel = channel;
    this.changed();
  }

  see(change: Partial<Looks>): void {
    Object.assign(this, change);
    this.changed();
  }

  /** Looks at a place while none is locked; null at none. */
  hover(place: Place | null): void {
    if (!this.locked) this.see({ place });
  }

  /** Stays at a place of the picture. */
  lock(place: Place): void {
    this.pinned = null;
    this.locked = true;
    this.see({ place });
  }

  /** Stays at a neuron of the first network. */
  lockAt(layer: string, neuron: Neuron): void {
    this.pinned = { layer, ...neuron };
    this.locked = true;
    this.see({ place: this.middle(layer, neuron) });
  }

  unlock(): void {
    if (!this.locked) return;
    this.pinned = null;
    this.locked = false;
    this.see({ place: null });
  }

  /** The neuron of a layer that the place was chosen by, if it was one of that layer. */
  pinnedOf(layer: string): Neuron | null {
    if (!this.pinned || this.pinned.layer !== layer) return null;
    const { row, column } = this.pinned;
    return { row, column };
  }

  /** What the neurons of a layer see has become known. */
  measured(): void {
    if (this.pinned) this.see({ place: this.middle(this.pinned.layer, this.pinned) });
  }

  /** Which tab or view is shown. */
  get view(): string {
    return this.model.get("view") || homeOf(this.model.get("_views"));
  }

  set view(name: string) {
    this.write("view", name);
  }

  /** Which slice of a volume is seen, as a share of its depth. */
  get slice(): number {
    return this.model.get("slice");
  }

  set slice(share: number) {
    this.write("slice", share);
  }

  /** Numbers, in the dataset, of the pictures that are brushed. */
  get brushed(): number[] {
    return this.model.get("selected");
  }

  set brushed(numbers: number[]) {
    this.write("selected", numbers);
  }

  /** Tells Python of the selection, after the frame that draws it. */
  announce(selection: Selection): void {
    if (JSON.stringify(selection) === this.told) return;
    this.told = JSON.stringify(selection);
    if (!this.telling) this.telling = window.setTimeout(() => this.tellNow(), TELL);
  }

  /** Tells Python of the selection, if it has not heard of it: before what depends on it. */
  tellNow(): void {
    if (!this.telling) return;
    clearTimeout(this.telling);
    this.telling = 0;
    this.write("_selection", JSON.parse(this.told), false);
  }

  private write(trait: string, value: unknown, changes = true): void {
    this.model.set(trait, value);
    this.model.save_changes();
    if (changes) this.changed();
  }

  /** Takes the selection that Python has set. */
  private take({ layer, channel, row = null, column = null }: Selection): void {
    const text = JSON.stringify({ layer, channel, row, column });
    if (text === this.told) return;
    this.told = text;
    this.layer = layer;
    this.channel = channel;
    if (row !== null && column !== null) this.lockAt(layer, { row, column });
    else {
      this.unlock();
      this.changed();
    }
  }

  private changed(): void {
    for (const listener of this.listeners) listener();
  }
}

/** How a layer's units follow one another: by number, or those first that answer most to the picture, or at a locked place. */
import { short } from "../drawing/dom";
import { type Stack, strengths, strongestFirst } from "../drawing/tiles";
import { clamp, type Neuron } from "./geometry";
import type { Look } from "./look";
import type { Layer } from "./protocol";

/** What is to be known of a panel to put units in order; `mapsKey` names the maps' question. */
export interface Panel {
  readonly look: Look;
  readonly layer: Layer;
  readonly selection: { channel: number };
  readonly sight: { neuron(): Neuron | null };
  maps(): { key: string; stack: Stack | undefined };
}

export class UnitOrder {
  private kept: { state: string; layer: string; order: number[] } = { state: "", layer: "", order: [] };

  constructor(private readonly panel: Panel) {}

  /** The units with the strongest first, while that is their order and the maps are here; null: they go by number. */
  get ranked(): number[] | null {
    const { look, layer } = this.panel;
    if (look.order === "number") return null;
    const { key, stack } = this.panel.maps();
    if (stack) {
      const neuron = this.place();
      const state = `${key} ${neuron?.row},${neuron?.column}`;
      if (state !== this.kept.state)
        this.kept = { state, layer: layer.name, order: strongestFirst(stack, neuron, layer.channels) };
    }
    // Until the maps of another picture are here, units stay where they are.
    return this.kept.layer === layer.name ? this.kept.order : null;
  }

  /** All units of the layer. */
  all(): number[] {
    return this.ranked ?? Array.from({ length: this.panel.layer.channels }, (_, channel) => channel);
  }

  /** Where a unit stands. */
  at(channel: number): number {
    return this.ranked?.indexOf(channel) ?? channel;
  }

  /** The unit that stands somewhere, the first or last beyond the ends. */
  unit(at: number): number {
    const inside = clamp(at, 0, this.panel.layer.channels - 1);
    return this.ranked?.[inside] ?? inside;
  }

  /** The unit some steps on. */
  neighbour(by: number): number {
    return this.unit(this.at(this.panel.selection.channel) + by);
  }

  /** What a unit answers to the picture at most, or at the locked place, in words; "" where that is not known. */
  strength(channel: number): string {
    const { stack } = this.panel.maps();
    const value = stack && strengths(stack, this.place())[channel - stack.start];
    return value === undefined ? "" : short(value);
  }

  private place(): Neuron | null {
    return this.panel.look.locked ? this.panel.sight.neuron() : null;
  }
}

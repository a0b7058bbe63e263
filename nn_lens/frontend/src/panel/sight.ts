/** One network through the panel's look: its layer, unit and neuron that are looked at, and how to look at others. */
import { boxOf, clamp, type Field, type Frame, middleOf, type Neuron, neuronAt } from "./geometry";
import type { Look } from "./look";
import type { Layer, Network, Selection } from "./protocol";
import { isWhole, placeInWords } from "./words";

/** The slice of so many that a share of a volume's depth is. */
export function sliceOf(share: number, depth: number): number {
  return clamp(Math.floor(share * depth), 0, depth - 1);
}

export class Sight {
  readonly layers: Map<string, Layer>;

  /**
   * `counterparts`: by layer of the first network, this one's own; null for the first itself, whose layers the look names.
   * `field`: what a layer's neurons see, once that is known.
   */
  constructor(
    readonly network: Network,
    readonly look: Look,
    private readonly counterparts: Record<string, string> | null,
    private readonly field: (layer: string) => Field | undefined,
  ) {
    this.layers = new Map(network.layers.map((layer) => [layer.name, layer]));
  }

  /** Whether this is the network whose selection Python is told of. */
  get leads(): boolean {
    return !this.counterparts;
  }

  /** Whether some of its layers stand beside layers of other names, whose values have no scale in common. */
  get differs(): boolean {
    return Object.entries(this.counterparts ?? {}).some(([first, own]) => first !== own);
  }

  get layer(): Layer {
    const name = this.counterparts?.[this.look.layer] ?? this.look.layer;
    return this.layers.get(name) as Layer;
  }

  /** The unit that is looked at, a neuron where a place is locked. */
  get selection(): Selection {
    const { layer } = this;
    const neuron = this.look.locked ? this.neuron() : null;
    const channel = Math.min(this.look.channel, layer.channels - 1);
    return { layer: layer.name, channel, row: neuron?.row ?? null, column: neuron?.column ?? null };
  }

  /** Selects a unit; a channel beyond the layer's last becomes the last. */
  select(layer: string, channel: number): void {
    const known = this.layers.get(layer);
    if (!known) return;
    // Several layers of the first network may have the same counterpart: the present one stays.
    const first = layer === this.layer.name ? this.look.layer : this.firstOf(layer);
    if (first !== undefined) this.look.select(first, clamp(channel, 0, known.channels - 1));
  }

  selectLayer(index: number): void {
    const list = this.network.layers;
    this.select(list[clamp(index, 0, list.length - 1)].name, this.selection.channel);
  }

  /** The layer with filters that is nearest to the present one, those before it first. */
  withFilters(): Layer | undefined {
    const { layers } = this.network;
    const at = layers.indexOf(this.layer);
    const before = layers.slice(0, at + 1).reverse();
    return before.find(({ filter }) => filter) ?? layers.slice(at).find(({ filter }) => filter);
  }

  /** The neuron of the present layer at the place that is looked at. */
  neuron(): Neuron | null {
    const { place } = this.look;
    if (!place) return null;
    const { name } = this.layer;
    return (this.leads ? this.look.pinnedOf(name) : null) ?? neuronAt(place, this.frameOf(name));
  }

  /** The numbers of a neuron's place in the present layer, as a Unit has them. */
  placeOf({ row, column }: Neuron): number[] {
    const { places } = this.layer;
    if (places.length === 1) return [column];
    return places.length === 3 ? [sliceOf(this.look.slice, places[0]), row, column] : [row, column];
  }

  /** A neuron's place in words. */
  inWords(neuron: Neuron): string {
    return placeInWords(this.placeOf(neuron), this.layer, this.network.kind);
  }

  /** Whether the present layer has one place, which is all that the network reads. */
  get isWhole(): boolean {
    return isWhole(this.layer.places, this.network.kind);
  }

  /** What that neuron sees, as shares of the picture: top, left, bottom, right. */
  box(): [number, number, number, number] | null {
    const [neuron, frame] = [this.neuron(), this.frameOf(this.layer.name)];
    return neuron && frame.field ? boxOf(neuron, frame, frame.field) : null;
  }

  /** Looks at a neuron of the present layer, while no place is locked. */
  hoverAt(neuron: Neuron | null): void {
    this.look.hover(neuron && middleOf(neuron, this.frameOf(this.layer.name)));
  }

  /** Stays at a neuron of the present layer; one beyond the map becomes the nearest. */
  lockAt({ row, column }: Neuron): void {
    const { name, grid } = this.layer;
    const neuron = { row: clamp(row, 0, grid[0] - 1), column: clamp(column, 0, grid[1] - 1) };
    if (this.leads) this.look.lockAt(name, neuron);
    else this.look.lock(middleOf(neuron, this.frameOf(name)));
  }

  /** The map of a layer in the network's input. */
  frameOf(layer: string): Frame {
    const { grid } = this.layers.get(layer) as Layer;
    return { grid, input: this.network.input, field: this.field(layer) };
  }

  /** The layer of the first network that one of this network's stands beside. */
  private firstOf(layer: string): string | undefined {
    if (!this.counterparts) return layer;
    return Object.entries(this.counterparts).find(([, own]) => own === layer)?.[0];
  }
}

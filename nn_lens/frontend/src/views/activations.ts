/** What all channels of a layer answer to the picture: maps, and of a layer without places bars on one scale. */
import { ABOVE_COLOUR, BELOW_COLOUR, drawnSize, isRow } from "../drawing/bars";
import { el, say, short } from "../drawing/dom";
import { Grid, type Place } from "../drawing/grid";
import { paint, type Scale, type Stack, strongestFirst, valueAt } from "../drawing/tiles";
import { BarList } from "../drawing/values";
import type { Store } from "../panel/store";
import { phrase } from "../panel/words";
import { View } from "./view";

export class ActivationsView extends View {
  private readonly grid: Grid;
  private readonly bars: BarList;
  private hover: Place | null = null;
  /** The units that are shown, as they stand. */
  private units: number[] = [];
  private drawn = "";
  private readonly ramps: Record<string, string> = {};
  private readonly scale = el("span", { class: "scale" });
  private readonly mode = el("select", { "aria-label": phrase("maps.colours") });

  constructor(store: Store) {
    super(store, "activations");
    this.grid = new Grid(
      (index) => store.sight.select(store.selection.layer, this.units[index]),
      (place) => {
        this.hover = place && { ...place, index: this.units[place.index] };
        store.sight.hoverAt(place);
        this.tell();
      },
    );
    this.bars = new BarList(this.title, (unit) => store.sight.select(store.selection.layer, unit));
    this.body.append(this.grid.root, this.bars.root);
    const modes: Scale["mode"][] = ["map", "layer", "fixed", ...(store.peer ? (["own"] as const) : [])];
    for (const value of modes) this.mode.append(el("option", { value }, phrase(`maps.colours.${value}`)));
    this.mode.addEventListener("change", () => store.setScale({ mode: this.mode.value as Scale["mode"] }));
    this.tools.append(this.scale, this.mode);
  }

  draw(): void {
    const { store } = this;
    const why = this.whyNot("maps");
    const stack = store.answer("maps");
    this.stale(!stack && !why);
    this.empty(why);
    if (!stack) {
      if (!why && !this.root.dataset.shown) say(this.note, this.phrase("maps.waiting"));
      return;
    }
    const { layer, channel } = store.selection;
    const single = isSingle(stack);
    this.grid.root.hidden = single;
    this.bars.root.hidden = !single;
    this.scale.hidden = this.mode.hidden = single;
    if (single) this.showBars(stack, layer, channel);
    else this.showMaps(stack, layer, channel);
    this.root.dataset.shown = `${layer} ${store.picture?.key}`;
    this.tell();
  }

  private showMaps(stack: Stack, layer: string, channel: number): void {
    const { store } = this;
    const top = store.topOf("maps");
    this.drawScale(stack, top);
    const { start, count, height, width } = stack;
    const ranked = store.order.ranked;
    const units = ranked ? ranked.slice(0, count) : Array.from({ length: count }, (_, n) => start + n);
    this.units = units;
    const label = ranked ? "maps.labelOfStrongest" : "maps.label";
    this.grid.show(
      {
        key: `${store.picture?.key} ${layer} ${stack.weights} ${start} ${store.topKey("maps")} ${ranked ?? ""}`,
        count,
        ...drawnSize(stack),
        rows: height,
        columns: width,
        label: phrase(label, { layer, first: start, last: start + count - 1 }),
        paint: (i, out) => paint(stack, units[i], 0, store.colours, out, top(units[i])),
      },
      units.indexOf(channel),
    );
    this.grid.point(store.sight.neuron());
    store.look.across = this.grid.across;
  }

  /** Classes are easiest to read with the strongest first; else the units follow one another as everywhere. */
  private showBars(stack: Stack, layer: string, channel: number): void {
    const { store } = this;
    const { classes, channels } = store.layer;
    const units = classes ? strongestFirst(stack, null, channels) : store.order.all();
    const held = units.filter((unit) => unit >= stack.start && unit < stack.start + stack.count);
    const state = `${store.picture?.key} ${layer} ${stack.weights} ${stack.start} ${channel} ${store.look.order}`;
    this.units = held;
    if (state === this.drawn) return;
    this.drawn = state;
    this.bars.show({
      units: held,
      name: (unit) => store.nameOf(layer, unit),
      value: (unit) => stack.largest[unit - stack.start],
      selected: channel,
      label: phrase("maps.labelOfBars", { count: held.length, layer }),
    });
  }

  private drawScale(stack: Stack, top: (unit: number) => number | undefined): void {
    const { colour, start } = stack;
    const { mode, contrast } = this.store.look.colourScale;
    const bars = isRow(stack);
    this.scale.className = `scale ${colour}`;
    this.mode.value = mode;
    const times = contrast === 1 ? "" : phrase("maps.contrast", { times: short(contrast) });
    const most = (mode === "map" || mode === "own" ? phrase("maps.largest") : short(top(start) ?? 0)) + times;
    this.scale.dataset.low = colour === "diverging" ? phrase("maps.low") : "0";
    this.scale.dataset.high = colour === "diverging" ? phrase("maps.high", { most }) : most;
    const halves = `${BELOW_COLOUR} 50%, ${ABOVE_COLOUR} 50%`;
    const solid = `linear-gradient(90deg, ${colour === "diverging" ? halves : `${ABOVE_COLOUR}, ${ABOVE_COLOUR}`})`;
    this.scale.style.setProperty("--ramp", bars ? solid : this.ramp(colour));
  }

  /** The colour table as a gradient. */
  private ramp(colour: string): string {
    if (this.ramps[colour]) return this.ramps[colour];
    const table = this.store.colours[colour];
    const stops = [0, 32, 64, 96, 128, 160, 192, 224, 255].map((l) => `rgb(${[...table.subarray(3 * l, 3 * l + 3)]})`);
    this.ramps[colour] = `linear-gradient(90deg, ${stops})`;
    return this.ramps[colour];
  }

  override close(): void {
    this.grid.close();
    this.bars.close();
  }

  private tell(): void {
    const stack = this.store.answer("maps");
    if (!stack || this.body.hidden) return;
    const { store } = this;
    const single = isSingle(stack);
    const at = single ? null : this.hover;
    const unit = at ? at.index : store.selection.channel;
    const n = unit - stack.start;
    if (n < 0 || n >= stack.count) return;
    const values = {
      name: store.nameOf(stack.layer, unit),
      value: short(stack.largest[n]),
      mean: short(stack.mean[n]),
      place: at ? store.sight.inWords(at) : "",
      here: at ? short(valueAt(stack, unit, 0, at.row, at.column)) : "",
    };
    const shown = { first: stack.start, last: stack.start + stack.count - 1 };
    const part = stack.count < stack.total ? phrase("maps.part", shown) : "";
    say(this.note, phrase(single ? "maps.noteOfBars" : at ? "maps.noteAt" : "maps.note", values) + part);
  }
}

/** Whether each unit of a layer is one number. */
function isSingle({ height, width }: Stack): boolean {
  return height * width === 1;
}

/** The activation maps of all channels of a layer for the picture; the selected one is drawn large beside it. */
import { ABOVE_COLOUR, BELOW_COLOUR, drawnSize, isRow } from "../drawing/bars";
import { el, say, short } from "../drawing/dom";
import { Grid, type Place } from "../drawing/grid";
import { paint, type Scale, type Stack, valueAt } from "../drawing/tiles";
import type { Store } from "../panel/store";
import { View } from "./view";

export class ActivationsView extends View {
  private readonly grid: Grid;
  private hover: Place | null = null;
  private shown: Stack | null = null;
  private readonly scale = el("span", { class: "scale" });
  private readonly mode = el("select", { "aria-label": "what the colours run to" });

  constructor(store: Store) {
    super(store, "activations");
    this.grid = new Grid(
      (index) => this.shown && store.sight.select(store.selection.layer, this.shown.start + index),
      (place) => {
        this.hover = place;
        store.sight.hoverAt(place);
        this.tell();
      },
    );
    this.body.append(this.grid.root);
    for (const [value, text] of [
      ["map", "colours: each map"],
      ["layer", "colours: whole layer"],
      ["fixed", "colours: stay as now"],
      ...(store.peer ? [["own", "colours: each network's own"]] : []),
    ])
      this.mode.append(el("option", { value }, text));
    this.mode.addEventListener("change", () => store.setScale({ mode: this.mode.value as Scale["mode"] }));
    this.tools.append(this.scale, this.mode);
  }

  draw(): void {
    const { store } = this;
    const why = this.whyNot("maps");
    const stack = store.answer("maps");
    this.stale(!stack && !why);
    this.empty(why);
    if (!stack) return;
    const { layer, channel } = store.selection;
    const top = store.topOf("maps");
    this.drawScale(stack, top);
    this.shown = stack;
    const { start, count, height, width } = stack;
    this.grid.show(
      {
        key: `${store.picture?.key} ${layer} ${stack.weights} ${start} ${store.topKey("maps")}`,
        count,
        ...drawnSize(stack),
        rows: height,
        columns: width,
        label: `Activation maps of layer ${layer}, channels ${start} to ${start + count - 1}`,
        paint: (i, out) => paint(stack, start + i, 0, store.colours, out, top(start + i)),
      },
      channel - start,
    );
    this.grid.point(store.sight.neuron());
    store.look.across = this.grid.across;
    this.root.dataset.shown = `${layer} ${store.picture?.key}`;
    this.tell();
  }

  private drawScale(stack: Stack, top: (unit: number) => number | undefined): void {
    const { colour, start } = stack;
    const { mode, contrast } = this.store.look.colourScale;
    const bars = isRow(stack);
    this.scale.className = `scale ${colour}`;
    this.mode.value = mode;
    const times = contrast === 1 ? "" : ` / ${short(contrast)}`;
    const most = mode === "map" || mode === "own" ? `largest of each map${times}` : short(top(start) ?? 0);
    this.scale.dataset.low = colour === "diverging" ? `blue −${most}` : "0";
    this.scale.dataset.high = colour === "diverging" ? `orange ${most}` : most;
    const halves = `${BELOW_COLOUR} 50%, ${ABOVE_COLOUR} 50%`;
    const solid = `linear-gradient(90deg, ${colour === "diverging" ? halves : `${ABOVE_COLOUR}, ${ABOVE_COLOUR}`})`;
    this.scale.style.setProperty("--ramp", bars ? solid : this.ramp(colour));
  }

  /** The colour table as a gradient. */
  private ramp(colour: string): string {
    const table = this.store.colours[colour];
    const stops = [0, 32, 64, 96, 128, 160, 192, 224, 255].map((l) => `rgb(${[...table.subarray(3 * l, 3 * l + 3)]})`);
    return `linear-gradient(90deg, ${stops})`;
  }

  override close(): void {
    this.grid.close();
  }

  private tell(): void {
    const stack = this.store.answer("maps");
    if (!stack || this.body.hidden) return;
    const at = this.hover;
    const unit = at ? stack.start + at.index : this.store.selection.channel;
    const n = unit - stack.start;
    if (n < 0 || n >= stack.count) return;
    const here = at ? `, at ${this.store.sight.inWords(at)}: ${short(valueAt(stack, unit, 0, at.row, at.column))}` : "";
    const part = stack.count < stack.total ? ` (channels ${stack.start}–${stack.start + stack.count - 1} shown)` : "";
    say(this.note, `unit ${unit}: largest ${short(stack.largest[n])}, mean ${short(stack.mean[n])}${here}${part}`);
  }
}

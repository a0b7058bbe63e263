/** The activation maps of all channels of a layer for the picture; the selected one is drawn large beside it. */
import { el, say, short } from "../shared/dom";
import { Grid, type Place } from "../shared/grid";
import type { Stack } from "../shared/protocol";
import type { Store } from "../shared/store";
import { paint, type Scale, valueAt } from "../shared/tiles";
import { View } from "./view";

export class ActivationsView extends View {
  private readonly grid: Grid;
  private hover: Place | null = null;
  private shown: Stack | null = null;
  private readonly scale = el("span", { class: "scale" });
  private readonly mode = el("select", { "aria-label": "what the colours run to" });

  constructor(store: Store) {
    super(store, "activations", "Activation maps");
    this.grid = new Grid(
      (index) => this.shown && store.select(store.selection.layer, this.shown.start + index),
      (place) => {
        this.hover = place;
        store.lookAt(place);
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
    const failure = this.store.picture ? this.store.failure("maps") : noPicture(this.store);
    const stack = this.store.stack("maps");
    this.stale(!stack && !failure);
    this.empty(failure);
    if (!stack) return;
    const { layer, channel } = this.store.selection;
    const { mapScale } = this.store;
    const key = `${this.store.picture?.key} ${layer} ${stack.weights} ${stack.start} ${this.store.topKey("maps")}`;
    this.drawScale(stack, mapScale);
    this.shown = stack;
    const { height, width } = stack;
    const label = `Activation maps of layer ${layer}, channels ${stack.start} to ${stack.start + stack.count - 1}`;
    this.grid.show(
      {
        key,
        count: stack.count,
        height,
        width,
        label,
        paint: (i, out) =>
          paint(stack, stack.start + i, 0, this.store.colours, out, this.store.top("maps", stack.start + i)),
      },
      channel - stack.start,
    );
    this.grid.point(this.store.neuron());
    this.store.across = this.grid.across;
    this.root.dataset.shown = `${layer} ${this.store.picture?.key}`;
    this.tell();
  }

  private drawScale(stack: Stack, scale: Scale): void {
    this.scale.className = `scale ${stack.colour}`;
    this.mode.value = scale.mode;
    const times = scale.contrast === 1 ? "" : ` / ${short(scale.contrast)}`;
    const most =
      scale.mode === "map" || scale.mode === "own"
        ? `largest of each map${times}`
        : short(this.store.top("maps", stack.start) ?? 0);
    this.scale.dataset.low = stack.colour === "diverging" ? `blue −${most}` : "0";
    this.scale.dataset.high = stack.colour === "diverging" ? `orange ${most}` : most;
    this.scale.style.setProperty("--ramp", this.ramp(stack.colour));
  }

  /** The colour table as a gradient. */
  private ramp(colour: string): string {
    const table = this.store.colours[colour];
    const stops = [0, 32, 64, 96, 128, 160, 192, 224, 255].map((l) => `rgb(${[...table.subarray(3 * l, 3 * l + 3)]})`);
    return `linear-gradient(90deg, ${stops})`;
  }

  close(): void {
    this.grid.close();
  }

  private tell(): void {
    const stack = this.store.stack("maps");
    if (!stack || this.body.hidden) return;
    const at = this.hover;
    const unit = at ? stack.start + at.index : this.store.selection.channel;
    const n = unit - stack.start;
    if (n < 0 || n >= stack.count) return;
    const here = at
      ? `, at row ${at.row}, column ${at.column}: ${short(valueAt(stack, unit, 0, at.row, at.column))}`
      : "";
    const part = stack.count < stack.total ? ` (channels ${stack.start}–${stack.start + stack.count - 1} shown)` : "";
    say(this.note, `unit ${unit}: largest ${short(stack.largest[n])}, mean ${short(stack.mean[n])}${here}${part}`);
  }
}

export function noPicture(store: Store): string {
  return store.network.input.length === 3
    ? "No picture yet: choose, drop or paste one."
    : `This network reads ${store.network.input[0]} numbers, not pictures. Set panel.picture to such a vector.`;
}

/** The activation maps of all channels of a layer for the picture; the selected one is drawn large beside it. */
import { el, say, short } from "../shared/dom";
import { Grid, type Place } from "../shared/grid";
import type { Stack } from "../shared/protocol";
import type { Store } from "../shared/store";
import { paint, valueAt } from "../shared/tiles";
import { View } from "./view";

export class ActivationsView extends View {
  private readonly grid: Grid;
  private hover: Place | null = null;
  private shown: Stack | null = null;
  private readonly scale = el("span", { class: "scale" });

  constructor(store: Store) {
    super(store, "activations", "Activation maps");
    this.grid = new Grid(
      (index) => this.shown && store.select(store.selection.layer, this.shown.start + index),
      (place) => {
        this.hover = place;
        this.tell();
      },
    );
    this.body.append(this.grid.root);
    this.tools.append(this.scale);
  }

  draw(): void {
    const failure = this.store.picture ? this.store.failure("maps") : noPicture(this.store);
    const stack = this.store.stack("maps");
    this.stale(!stack && !failure);
    this.empty(failure);
    if (!stack) return;
    const { layer, channel } = this.store.selection;
    const key = `${this.store.picture?.key} ${layer} ${stack.weights} ${stack.start}`;
    if (this.shown !== stack) this.scale.className = `scale ${stack.colour}`;
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
        paint: (i, out) => paint(stack, stack.start + i, 0, this.store.colours, out),
      },
      channel - stack.start,
    );
    this.root.dataset.shown = `${layer} ${this.store.picture?.key}`;
    this.tell();
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

/** The filters of a layer: all of them in colour or of one slice each, else the slices of the selected one. */
import { short } from "../shared/dom";
import { Grid, type Place } from "../shared/grid";
import type { Stack } from "../shared/protocol";
import type { Store } from "../shared/store";
import { paint, valueAt } from "../shared/tiles";
import { View } from "./view";

export class FiltersView extends View {
  private readonly grid: Grid;
  private hover: Place | null = null;

  constructor(store: Store) {
    super(store, "filters", "Filters");
    this.grid = new Grid(
      (index) => {
        const stack = this.stack();
        if (stack && whole(stack)) store.select(store.selection.layer, stack.start + index);
      },
      (place) => {
        this.hover = place;
        this.tell();
      },
      64,
    );
    this.body.append(this.grid.root);
  }

  draw(): void {
    const failure = this.store.failure("filters");
    const stack = this.stack();
    this.stale(!stack && !failure);
    this.empty(failure);
    if (!stack) return;
    const { layer, channel } = this.store.selection;
    const { colours } = this.store;
    const { height, width } = stack;
    if (whole(stack)) {
      const inColour = stack.colour === "rgb" ? ", in colour" : "";
      const label = `${stack.total} filters of layer ${layer}, ${height} by ${width}${inColour}`;
      const key = `${layer} ${stack.weights} ${stack.start} ${this.store.topKey("filters")}`;
      this.grid.show(
        {
          key,
          count: stack.count,
          height,
          width,
          label,
          paint: (i, out) => paint(stack, stack.start + i, 0, colours, out, this.store.top("filters", stack.start + i)),
        },
        channel - stack.start,
      );
    } else {
      const label = `Filter ${channel} of layer ${layer}: ${stack.planes} slices of ${height} by ${width}`;
      const key = `${layer} ${stack.weights} ${channel} ${this.store.topKey("filters")}`;
      this.grid.show(
        {
          key,
          count: stack.planes,
          height,
          width,
          label,
          paint: (i, out) => paint(stack, channel, i, colours, out, this.store.top("filters", channel)),
        },
        null,
      );
    }
    this.root.dataset.shown = `${layer}:${channel}`;
    this.tell();
  }

  close(): void {
    this.grid.close();
  }

  private stack(): Stack | undefined {
    return this.store.stack("filters");
  }

  private tell(): void {
    const stack = this.stack();
    if (!stack || this.body.hidden) return;
    const { channel } = this.store.selection;
    const at = this.hover;
    const size = `${stack.height}×${stack.width}`;
    if (whole(stack)) {
      const unit = at ? stack.start + at.index : channel;
      const [planes, zero] = stack.colour === "rgb" ? [[0, 1, 2], "grey is zero"] : [[0], "orange > 0 > blue"];
      const values = at ? planes.map((p) => short(valueAt(stack, unit, p, at.row, at.column))).join(", ") : "";
      const names = stack.colour === "rgb" ? "red, green, blue " : "";
      this.note.textContent = at
        ? `filter ${unit}, row ${at.row}, column ${at.column}: ${names}${values}`
        : `${stack.total} filters of ${size}; ${zero}; ${channel} is marked`;
    } else if (at && at.index < stack.planes) {
      const value = short(valueAt(stack, channel, at.index, at.row, at.column));
      this.note.textContent = `filter ${channel}, input ${at.index}, row ${at.row}, column ${at.column}: ${value}`;
    } else {
      const one = stack.height === 1 && stack.width === 1;
      const what = one ? `weights to ${stack.planes} inputs` : `${size} for each of ${stack.planes} inputs`;
      this.note.textContent = `filter ${channel}: ${what}; orange > 0 > blue`;
    }
  }
}

/** Whether each filter is one tile, so that all are shown. */
function whole(stack: Stack): boolean {
  return stack.colour === "rgb" || (stack.planes === 1 && stack.height * stack.width > 1);
}

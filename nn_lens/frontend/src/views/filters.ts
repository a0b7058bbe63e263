/** The filters of a layer: all of them in colour or of one slice each, else the slices of the selected one. */
import { drawnSize } from "../drawing/bars";
import { el, say, short } from "../drawing/dom";
import { Grid, type Place } from "../drawing/grid";
import { between, paint, type Stack, valueAt } from "../drawing/tiles";
import type { Store } from "../panel/store";
import { cut, phrase } from "../panel/words";
import { View } from "./view";

export class FiltersView extends View {
  private readonly grid: Grid;
  private readonly link = el("button", { type: "button", class: "link", hidden: true, onclick: () => this.follow() });
  private hover: Place | null = null;

  constructor(store: Store) {
    super(store, "filters");
    this.grid = new Grid(
      (index) => {
        const stack = store.answer("filters");
        if (stack && whole(stack)) store.sight.select(store.selection.layer, stack.start + index);
      },
      (place) => {
        this.hover = place;
        this.tell();
      },
      64,
    );
    this.body.append(this.grid.root);
    this.root.append(this.link);
  }

  draw(): void {
    const why = this.offerLink() || this.whyNot("filters");
    const stack = this.store.answer("filters");
    this.stale(!stack && !why);
    this.empty(why);
    if (!stack) return;
    const { layer, channel } = this.store.selection;
    if (whole(stack)) this.showAll(stack);
    else this.showSlices(stack, channel);
    this.root.dataset.shown = `${layer}:${channel}`;
    this.tell();
  }

  /** Of a layer without filters says so, and offers the nearest that has some; "" of one that has. */
  private offerLink(): string {
    const { layer, sight } = this.store;
    const near = layer.filter ? undefined : sight.withFilters();
    this.link.hidden = !near;
    if (near) {
      say(this.link, phrase("filters.go", { layer: cut(near.name, 28) }));
      this.link.title = near.name;
    }
    return layer.filter ? "" : phrase("filters.none", { layer: cut(layer.name, 28), kind: layer.kind });
  }

  /** Goes to the nearest layer that has filters. */
  private follow(): void {
    const { sight, selection } = this.store;
    const near = sight.withFilters();
    if (near) sight.select(near.name, selection.channel);
  }

  override close(): void {
    this.grid.close();
  }

  private showAll(stack: Stack): void {
    const { store } = this;
    const { layer, channel } = store.selection;
    const { start, count, height, width } = stack;
    const top = store.topOf("filters");
    const colour = stack.colour === "rgb" ? "filters.labelInColour" : "filters.label";
    this.grid.show(
      {
        key: `${layer} ${stack.weights} ${start} ${store.topKey("filters")}`,
        count,
        ...drawnSize(stack),
        rows: height,
        columns: width,
        label: phrase(colour, { count: stack.total, layer, size: sizeOf(stack, phrase("by")) }),
        paint: (i, out) => paint(stack, start + i, 0, store.colours, out, top(start + i)),
      },
      channel - start,
    );
  }

  private showSlices(stack: Stack, channel: number): void {
    const { store } = this;
    const { layer } = store.selection;
    const { planes, height, width } = stack;
    const top = store.topOf("filters");
    this.grid.show(
      {
        key: `${layer} ${stack.weights} ${channel} ${store.topKey("filters")}`,
        count: planes,
        ...drawnSize(stack),
        rows: height,
        columns: width,
        label: phrase("filters.labelOfOne", { channel, layer, planes, size: sizeOf(stack, phrase("by")) }),
        paint: (i, out) => paint(stack, channel, i, store.colours, out, top(channel)),
      },
      null,
    );
  }

  private tell(): void {
    const stack = this.store.answer("filters");
    if (!stack || this.body.hidden) return;
    const hover = this.hover && between(stack, this.hover.column) ? null : this.hover;
    say(this.note, inWords(stack, this.store.selection.channel, hover));
  }
}

/** Whether each filter is one tile, so that all are shown. */
function whole(stack: Stack): boolean {
  return stack.colour === "rgb" || (stack.planes === 1 && stack.height * stack.width > 1);
}

/** The sides of a filter, of volumes three. */
function sizeOf({ height, width, slices = 1 }: Stack, times: string): string {
  const sides =
    slices > 1 ? [slices, height, (width + 1) / slices - 1] : height === 1 && width > 1 ? [width] : [height, width];
  return sides.join(times);
}

/** A place in a filter, in words. */
function placeOf({ height, width, slices = 1 }: Stack, { row, column }: Place): string {
  if (slices === 1)
    return height === 1 && width > 1 ? phrase("number", { column }) : phrase("cell.one", { row, column });
  const each = (width + 1) / slices;
  return phrase("cell.inSlice", { slice: Math.floor(column / each), row, column: column % each });
}

function inWords(stack: Stack, channel: number, at: Place | null): string {
  const size = sizeOf(stack, "×");
  const rgb = stack.colour === "rgb";
  if (whole(stack)) {
    if (!at) return phrase(rgb ? "filters.allInColour" : "filters.all", { count: stack.total, size, channel });
    const unit = stack.start + at.index;
    const planes = rgb ? [0, 1, 2] : [0];
    const values = planes.map((plane) => short(valueAt(stack, unit, plane, at.row, at.column))).join(", ");
    return phrase(rgb ? "filters.atInColour" : "filters.at", { unit, place: placeOf(stack, at), values });
  }
  if (at && at.index < stack.planes) {
    const value = short(valueAt(stack, channel, at.index, at.row, at.column));
    return phrase("filters.atInput", { channel, input: at.index, place: placeOf(stack, at), value });
  }
  const one = stack.height === 1 && stack.width === 1;
  return phrase(one ? "filters.oneOfSingles" : "filters.one", { channel, size, planes: stack.planes });
}

/** Is the selected unit special? The pictures that move it most, beside those that move random directions most. */
import { el, say, short } from "../shared/dom";
import type { Beside } from "../shared/protocol";
import type { Store } from "../shared/store";
import { View } from "./view";

export class DirectionsView extends View {
  private readonly rows = el("div", { class: "beside" });
  private drawn: Beside | null = null;

  constructor(store: Store) {
    super(store, "directions", "Is this unit special?");
    const words =
      "The first row is the unit; the others are random mixtures of the layer's units, as long. " +
      "If their pictures have as much in common, what the unit stands for is no more the network's than these are.";
    this.body.append(this.rows, el("p", { class: "words" }, words));
  }

  draw(): void {
    const failure = this.store.failure("directions");
    const found = this.store.beside();
    this.stale(!found && !failure);
    this.empty(failure);
    if (found && found !== this.drawn) {
      let first = 0;
      const rows = found.rows.map((row) => {
        const made = this.row(found, row, first);
        first += row.activations.length;
        return made;
      });
      this.rows.replaceChildren(...rows);
      this.drawn = found;
    }
    const { layer, channel } = this.store.selection;
    this.root.dataset.shown = found ? `${layer}:${channel} ${found.count}` : "";
    if (!failure) say(this.note, found ? `of ${found.count} pictures` : "looking at the first pictures …");
  }

  private row(found: Beside, row: Beside["rows"][number], first: number): HTMLElement {
    const total = found.rows.reduce((sum, each) => sum + each.activations.length, 0);
    const apart = row.apart === null ? "no spread" : `${short(row.apart)} σ above the mean`;
    const pictures = row.activations.map((value, i) => {
      const label = `Picture that moves ${row.name} to ${short(value)}`;
      const canvas = el("canvas", { role: "img", "aria-label": label, title: short(value) });
      if (found.sheet) {
        canvas.width = found.sheet.width / total;
        canvas.height = found.sheet.height;
        canvas.getContext("2d")?.drawImage(found.sheet, -(first + i) * canvas.width, 0);
      }
      return canvas;
    });
    const name = el("span", { class: "caption" }, el("b", {}, row.name), el("br"), apart);
    return el("div", { class: "one", role: "group", "aria-label": `${row.name}: ${apart}` }, name, ...pictures);
  }
}

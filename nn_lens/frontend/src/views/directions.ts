/** Is the selected unit special? The pictures that activate it most, beside those that activate random directions most. */
import { el, short } from "../drawing/dom";
import { bitmap, drawFrom } from "../drawing/sheet";
import type { Message } from "../panel/protocol";
import type { Store } from "../panel/store";
import { AnswerView } from "./view";

/** The pictures that activate the selected unit most, and those that activate random directions of its layer most, row by row. */
export interface Directions {
  count: number;
  rows: { name: string; activations: number[]; apart: number | null }[];
  sheet: ImageBitmap | null;
}

export async function decodeDirections(head: Message, [sheet]: DataView[]): Promise<Directions> {
  return { ...(head as unknown as Directions), sheet: await bitmap(sheet) };
}

export class DirectionsView extends AnswerView<"directions"> {
  private readonly rows = el("div", { class: "beside" });

  constructor(store: Store) {
    super(store, "directions", "directions");
    const words =
      "The first row is the unit; the others are random mixtures of the layer's units, as long. " +
      "If their pictures have as much in common, the unit is no more meaningful to the network than a random mixture.";
    this.body.append(this.rows, el("p", { class: "words" }, this.words(words)));
  }

  protected shown({ count }: Directions): string {
    const { layer, channel } = this.store.selection;
    return `${layer}:${channel} ${count}`;
  }

  protected tell({ count }: Directions): string {
    return `of ${count.toLocaleString("en")} ${this.counted()}`;
  }

  protected waiting(): string {
    return "looking at the first pictures …";
  }

  protected paint({ rows, sheet }: Directions): void {
    const total = rows.reduce((sum, { activations }) => sum + activations.length, 0);
    let first = 0;
    const made = rows.map(({ name, activations, apart }) => {
      const far = apart === null ? "no spread" : `${short(apart)} σ above the mean`;
      const pictures = activations.map((value, i) => {
        const label = this.words(`Picture that activates ${name} to ${short(value)}`);
        const canvas = el("canvas", { role: "img", "aria-label": label, title: short(value) });
        if (sheet) drawFrom(canvas, sheet, first + i, total);
        return canvas;
      });
      first += activations.length;
      const caption = el("span", { class: "caption" }, el("b", {}, name), el("br"), far);
      return el("div", { class: "one", role: "group", "aria-label": `${name}: ${far}` }, caption, ...pictures);
    });
    this.rows.replaceChildren(...made);
  }
}

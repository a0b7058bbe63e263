/** Is the selected unit special? The pictures that activate it most, beside those that activate random directions most. */
import { el, short } from "../drawing/dom";
import { bitmap, drawFrom } from "../drawing/sheet";
import type { Message } from "../panel/protocol";
import type { Store } from "../panel/store";
import { phrase } from "../panel/words";
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
    this.body.append(this.rows, el("p", { class: "words" }, this.phrase("directions.how")));
  }

  protected shown({ count }: Directions): string {
    const { layer, channel } = this.store.selection;
    return `${layer}:${channel} ${count}`;
  }

  protected tell({ count }: Directions): string {
    return phrase("directions.note", { count: count.toLocaleString("en"), what: this.counted() });
  }

  protected waiting(): string {
    return phrase("examples.waiting");
  }

  protected paint({ rows, sheet }: Directions): void {
    const total = rows.reduce((sum, { activations }) => sum + activations.length, 0);
    let first = 0;
    const made = rows.map(({ name, activations, apart }) => {
      const far = apart === null ? phrase("directions.none") : phrase("directions.apart", { apart: short(apart) });
      const pictures = activations.map((value, i) => {
        const label = this.phrase("examples.alt", { unit: name, value: short(value) });
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

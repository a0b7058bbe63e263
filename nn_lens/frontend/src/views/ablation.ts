/** What the answer would be if the selected unit were off, weaker or stronger, beside random other units. */
import { el, say, short } from "../drawing/dom";
import type { Message } from "../panel/protocol";
import type { Store } from "../panel/store";
import { AnswerView } from "./view";

/** The classes whose scores move most when the unit's activations are scaled, and what becomes of the accuracy. */
export interface Ablation {
  scale: number;
  alt: string;
  rows: { label: string; before: number; after: number; control: number | null }[];
  accuracy?: { count: number; change: number; control: number | null; worst: string; worstChange: number };
}

export function decodeAblation(head: Message): Ablation {
  return head as unknown as Ablation;
}

export class AblationView extends AnswerView<"ablation"> {
  private readonly slider = el("input", { type: "range", min: 0, max: 3, step: 0.25, "aria-label": "times" });
  private readonly factor = el("output", { class: "text" });
  private readonly table = el("table", { class: "changes" });
  private readonly accuracy = el("p", { class: "words" });

  constructor(store: Store) {
    super(store, "ablation", "ablation");
    this.slider.value = String(store.look.factor);
    this.slider.addEventListener("input", () => store.look.see({ factor: Number(this.slider.value) }));
    const label = el("label", { class: "slider" }, el("span", {}, "its answers times"), this.slider, this.factor);
    this.body.append(label, this.table, this.accuracy);
  }

  override draw(): void {
    super.draw();
    const { factor } = this.store.look;
    say(this.factor, factor === 0 ? "0, off" : short(factor));
  }

  protected shown({ scale }: Ablation): string {
    return `${this.unit()} ${scale}`;
  }

  protected tell({ alt }: Ablation): string {
    return alt;
  }

  protected waiting(): string {
    return `without ${this.unit()} …`;
  }

  private unit(): string {
    const { layer, channel } = this.store.selection;
    return `${layer}:${channel}`;
  }

  protected paint({ rows, accuracy }: Ablation): void {
    const changes = rows.flatMap(({ before, after, control }) => [Math.abs(after - before), Math.abs(control ?? 0)]);
    const largest = Math.max(1e-9, ...changes);
    const titles = ["class", "score", "this unit", "random units"];
    const head = el("tr", {}, ...titles.map((text) => el("th", { scope: "col" }, text)));
    const lines = rows.map(({ label, before, after, control }) =>
      el(
        "tr",
        {},
        el("td", { title: label }, label),
        el("td", {}, `${short(before)} → ${short(after)}`),
        el("td", {}, bar(after - before, largest)),
        el("td", {}, control === null ? "–" : bar(control, largest)),
      ),
    );
    this.table.replaceChildren(head, ...lines);
    say(this.accuracy, accuracy ? this.words(inWords(accuracy)) : "");
  }
}

function inWords({ count, change, control, worst, worstChange }: NonNullable<Ablation["accuracy"]>): string {
  const points = (share: number) => `${share > 0 ? "+" : ""}${(100 * share).toFixed(1)} points`;
  const random = control === null ? "" : ` (random units ${points(control)})`;
  return `Accuracy over ${count} pictures: ${points(change)}${random}; most for ${worst}: ${points(worstChange)}.`;
}

/** A bar from the middle to the right for more, to the left for less, with its number. */
function bar(value: number, largest: number): HTMLElement {
  const width = (50 * Math.abs(value)) / largest;
  const from = value < 0 ? 50 - width : 50;
  const piece = el("div", { class: value < 0 ? "piece less" : "piece more", style: `left:${from}%;width:${width}%` });
  const number = el("span", { class: "much" }, `${value > 0 ? "+" : ""}${short(value)}`);
  return el("div", { class: "change" }, el("div", { class: "track" }, piece), number);
}

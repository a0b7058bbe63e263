/** What the answer would be if the selected unit answered otherwise, everywhere or at a place, beside random other units. */
import { el, say, short } from "../drawing/dom";
import type { Message } from "../panel/protocol";
import type { Store } from "../panel/store";
import { LaterLayers } from "./later";
import { AnswerView } from "./view";

/** The classes whose scores move most when the unit is steered, and what becomes of the accuracy. */
export interface Ablation {
  /** 0 is off, 1 as it is. */
  scale: number;
  /** Its largest answer, or that at the place, as it is and now. */
  present: number;
  value: number;
  /** "everywhere", or at which place. */
  place: string;
  alt: string;
  rows: { label: string; before: number; after: number; control: number | null }[];
  accuracy?: { count: number; change: number; control: number | null; worst: string; worstChange: number };
}

export function decodeAblation(head: Message): Ablation {
  return head as unknown as Ablation;
}

export class AblationView extends AnswerView<"ablation"> {
  private readonly slider = el("input", { type: "range", min: 0, max: 3, step: 0.25, "aria-label": "what it answers" });
  private readonly factor = el("output", { class: "text" });
  private readonly table = el("table", { class: "changes" });
  private readonly accuracy = el("p", { class: "words" });
  private readonly where = el("select", { "aria-label": "where it is steered" });
  private readonly here = el("option", { value: "here" }, "here");
  private readonly later: LaterLayers;

  constructor(store: Store) {
    super(store, "ablation", "ablation");
    this.slider.value = String(store.look.factor);
    this.slider.addEventListener("input", () => store.look.see({ factor: Number(this.slider.value) }));
    this.where.append(el("option", { value: "everywhere" }, "everywhere"), this.here);
    this.where.addEventListener("change", () => store.look.see({ here: this.where.value === "here" }));
    const label = el("label", { class: "slider" }, el("span", {}, "it answers"), this.slider, this.factor);
    this.later = new LaterLayers(store);
    this.body.append(el("div", { class: "steer" }, label, this.where), this.table, this.accuracy, this.later.root);
  }

  override draw(): void {
    super.draw();
    this.later.draw();
    const { factor, here, locked } = this.store.look;
    this.slider.value = String(factor);
    this.here.disabled = !locked;
    this.here.textContent = locked ? "at the locked place" : "at a place: click one first";
    this.where.value = here && locked ? "here" : "everywhere";
    const answer = this.store.answer("ablation");
    const value = answer ? ` (${short(answer.value)})` : "";
    say(this.factor, (factor === 0 ? "off" : factor === 1 ? "as it does" : `×${short(factor)}`) + value);
  }

  protected shown({ scale, place }: Ablation): string {
    return `${this.unit()} ${scale}${place === "everywhere" ? "" : ` ${place}`}`;
  }

  protected tell({ alt, scale, present }: Ablation): string {
    if (scale !== 1) return alt;
    const wakes = present === 0 ? "It is silent here: to the right it wakes." : "At the left end it is off.";
    return `Moved, the slider changes what the unit answers; scores, later layers and contributions follow. ${wakes}`;
  }

  protected waiting(): string {
    return `steering ${this.unit()} …`;
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

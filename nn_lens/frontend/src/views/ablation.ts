/** What the answer would be if the selected unit answered otherwise, everywhere or at a place, beside random other units. */
import { el, say, short } from "../drawing/dom";
import type { Message } from "../panel/protocol";
import type { Store } from "../panel/store";
import { phrase } from "../panel/words";
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
  private readonly slider = el("input", {
    type: "range",
    min: 0,
    max: 3,
    step: 0.25,
    "aria-label": phrase("steer.slider"),
  });
  private readonly factor = el("output", { class: "text" });
  private readonly table = el("table", { class: "changes" });
  private readonly accuracy = el("p", { class: "words" });
  private readonly where = el("select", { "aria-label": phrase("steer.where") });
  private readonly here = el("option", { value: "here" });
  private readonly later: LaterLayers;

  constructor(store: Store) {
    super(store, "ablation", "ablation");
    this.slider.value = String(store.look.factor);
    this.slider.addEventListener("input", () => store.look.see({ factor: Number(this.slider.value) }));
    this.where.append(el("option", { value: "everywhere" }, phrase("steer.everywhere")), this.here);
    this.where.addEventListener("change", () => store.look.see({ here: this.where.value === "here" }));
    const label = el("label", { class: "slider" }, el("span", {}, phrase("steer.answers")), this.slider, this.factor);
    this.later = new LaterLayers(store);
    this.body.append(this.table, this.accuracy, this.later.root);
    this.body.before(el("div", { class: "steer" }, label, this.where)); // which stays where an answer fails
    // An exported page holds one answer.
    this.slider.disabled = this.where.disabled = !store.live;
  }

  override draw(): void {
    super.draw();
    this.later.draw();
    const { factor, here, locked } = this.store.look;
    this.slider.value = String(factor);
    this.here.disabled = !locked;
    say(this.here, phrase(locked ? "steer.here" : "steer.nowhere"));
    this.where.value = here && locked ? "here" : "everywhere";
    const answer = this.store.answer("ablation");
    const everywhere = answer?.place === "everywhere";
    const value = answer ? phrase(everywhere ? "steer.strongest" : "steer.there", { value: short(answer.value) }) : "";
    const words = factor === 0 ? phrase("steer.off") : factor === 1 ? phrase("steer.asItDoes") : `×${short(factor)}`;
    say(this.factor, words + value);
  }

  protected shown({ scale, place }: Ablation): string {
    return `${this.unit()} ${scale}${place === "everywhere" ? "" : ` ${place}`}`;
  }

  protected tell({ alt, scale, present }: Ablation): string {
    if (scale !== 1) return alt;
    return `${phrase("steer.how")} ${phrase(present === 0 ? "steer.silent" : "steer.left")}`;
  }

  protected waiting(): string {
    return phrase("steer.waiting", { unit: this.unit() });
  }

  private unit(): string {
    const { layer, channel } = this.store.selection;
    return `${layer}:${channel}`;
  }

  protected paint({ rows, accuracy }: Ablation): void {
    const changes = rows.flatMap(({ before, after, control }) => [Math.abs(after - before), Math.abs(control ?? 0)]);
    const largest = Math.max(1e-9, ...changes);
    const titles = (["steer.class", "steer.score", "steer.unit", "steer.random"] as const).map((key) => phrase(key));
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
  const points = (share: number) =>
    phrase("steer.points", { share: `${share > 0 ? "+" : ""}${(100 * share).toFixed(1)}` });
  const random = control === null ? "" : phrase("steer.accuracyOfRandom", { change: points(control) });
  const values = { count, change: points(change), random, worst, worstChange: points(worstChange) };
  return phrase("steer.accuracy", values);
}

/** A bar from the middle to the right for more, to the left for less, with its number. */
function bar(value: number, largest: number): HTMLElement {
  const width = (50 * Math.abs(value)) / largest;
  const from = value < 0 ? 50 - width : 50;
  const piece = el("div", { class: value < 0 ? "piece less" : "piece more", style: `left:${from}%;width:${width}%` });
  const number = el("span", { class: "much" }, `${value > 0 ? "+" : ""}${short(value)}`);
  return el("div", { class: "change" }, el("div", { class: "track" }, piece), number);
}

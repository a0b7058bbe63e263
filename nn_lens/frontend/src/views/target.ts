/** The choice of what is to be explained: a class or the selected unit, and what it is compared with. */
import { el } from "../drawing/dom";
import type { Store } from "../panel/store";
import { phrase } from "../panel/words";

/** A class that another is compared with: its rank, or "#7" for the class of that index, with its name. */
export interface Rather {
  value: number | string;
  name: string;
}

/** The choice of the selected unit, among the ranks of classes. */
const UNIT = "unit" as const;

export class TargetChoice {
  readonly root = el("span", { class: "target" });
  private readonly target = el("select", { "aria-label": phrase("target.label") });
  private readonly rather = el("select", { "aria-label": phrase("target.ratherLabel") });
  private readonly joined = el("span", {}, phrase("target.rather"));
  private offered = "";
  private options: Rather[] = [];

  constructor(private readonly store: Store) {
    this.target.addEventListener("change", () => {
      const { value } = this.target;
      store.look.see({ target: value === UNIT ? null : Number(value), rather: null });
    });
    this.rather.addEventListener("change", () => {
      store.look.see({ rather: this.options[this.rather.selectedIndex - 1] ?? null });
    });
    this.target.disabled = this.rather.disabled = !store.live; // an exported page holds one answer
    this.root.append(this.target, this.joined, this.rather);
  }

  /** Offers the most probable classes and the selected unit. */
  draw(): void {
    const { store } = this;
    const { layer, channel } = store.selection;
    const { target, rather } = store.look;
    const scores = store.answer("scores")?.scores ?? [];
    const classes: [string, string][] = scores.map(([label], i) => [String(i), label]);
    if (!scores.length && store.network.answer !== null) classes.push(["0", phrase("target.first")]);
    const others = classes
      .filter(([value]) => value !== String(target))
      .map(([rank, name]) => ({ value: Number(rank), name }));
    const known = !rather || others.some(({ value }) => value === rather.value);
    this.options = target === null || scores.length < 2 ? [] : known ? others : [rather, ...others];
    const offers = [...classes, [UNIT, phrase("unit", { name: `${layer}:${channel}` })]];
    const text = JSON.stringify([offers, this.options]);
    if (text !== this.offered) {
      this.offered = text;
      this.target.replaceChildren(...offers.map(([value, label]) => el("option", { value }, label)));
      const rest = this.options.map(({ value, name }) => el("option", { value }, name));
      this.rather.replaceChildren(el("option", { value: "" }, phrase("target.nothing")), ...rest);
    }
    this.target.value = String(target ?? UNIT);
    this.rather.value = String(this.options.length ? (rather?.value ?? "") : "");
    this.rather.hidden = this.joined.hidden = !this.options.length;
  }
}

/** The multiplication behind one number of a map, on the user's own convolution: window x kernel, summed over the inputs. */
import { el, say, short } from "../drawing/dom";
import { numbers } from "../drawing/numbers";
import { floats, type Message } from "../panel/protocol";
import type { Store } from "../panel/store";
import { phrase } from "../panel/words";
import { AnswerView } from "./view";

/** How one neuron of a convolution comes to its activation: its strongest inputs, and the rest added up. */
export interface Arithmetic {
  unit: string;
  inputs: { number: number; sum: number }[];
  height: number;
  width: number;
  rest: number;
  restCount: number;
  bias: number;
  value: number;
  then: [layer: string, value: number][];
  alt: string;
  /** Windows of all inputs, kernels of all, products of all. */
  values: Float32Array;
}

export function decodeArithmetic(head: Message, [values]: DataView[]): Arithmetic {
  return { ...(head as unknown as Arithmetic), values: floats(values) };
}

export class ArithmeticView extends AnswerView<"arithmetic"> {
  private readonly rows = el("div", { class: "sums" });
  private readonly total = el("p", { class: "words total" });

  constructor(store: Store) {
    super(store, "arithmetic", "arithmetic");
    this.body.append(this.rows, this.total);
  }

  override draw(): void {
    super.draw();
    if (this.store.look.locked) return;
    this.stale(false);
    if (!this.rows.childElementCount) return;
    this.rows.replaceChildren();
    say(this.total, "");
    this.repaint();
  }

  protected shown({ unit, value }: Arithmetic): string {
    return `${unit} ${value}`;
  }

  protected tell(): string {
    return phrase("arithmetic.note");
  }

  protected waiting(): string {
    return phrase(this.store.look.locked ? "arithmetic.waiting" : "arithmetic.before");
  }

  protected paint(answer: Arithmetic): void {
    const { unit, inputs, height, width, rest, restCount, bias, value, then } = answer;
    const size = height * width;
    const { diverging } = this.store.colours;
    const figure = (which: number, i: number, name: string) => {
      const start = (which * inputs.length + i) * size;
      const plane = { height, width, values: answer.values.subarray(start, start + size) };
      return el("figure", {}, numbers(plane, diverging, name), el("figcaption", { class: "caption" }, name));
    };
    this.rows.replaceChildren(
      ...inputs.map(({ number, sum }, i) =>
        el(
          "div",
          { class: "equation" },
          figure(0, i, phrase("arithmetic.window", { number })),
          el("span", {}, "×"),
          figure(1, i, phrase("kernel")),
          el("span", {}, "="),
          figure(2, i, phrase("products")),
          el("span", { class: "sum" }, phrase("sum", { sum: short(sum) })),
        ),
      ),
    );
    const others = restCount ? ` + ${phrase("arithmetic.others", { rest: short(rest), count: restCount })}` : "";
    const sums = inputs.map(({ sum }) => short(sum)).join(" + ");
    const behind = then.map(([layer, v]) => ` → ${layer} → ${short(v)}`).join("");
    const whole = `${sums}${others} + ${phrase("arithmetic.bias", { bias: short(bias) })} = ${short(value)}`;
    say(this.total, `${unit} = ${whole}${behind}`);
  }
}

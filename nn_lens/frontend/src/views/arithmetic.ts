/** The multiplication behind one number of a map, on the user's own convolution: window x kernel, summed over the inputs. */
import { el, say, short } from "../shared/dom";
import { numbers } from "../shared/numbers";
import type { Arithmetic } from "../shared/protocol";
import type { Store } from "../shared/store";
import { noPicture } from "./activations";
import { View } from "./view";

export class ArithmeticView extends View {
  private readonly rows = el("div", { class: "sums" });
  private readonly total = el("p", { class: "words total" });
  private drawn: Arithmetic | null = null;

  constructor(store: Store) {
    super(store, "arithmetic", "How is this number made?");
    this.body.append(this.rows, this.total);
  }

  draw(): void {
    const { store } = this;
    const failure = store.picture ? store.failure("arithmetic") : noPicture(store);
    const found = store.arithmetic();
    this.empty(failure);
    if (!store.locked && !failure) {
      this.rows.replaceChildren();
      this.drawn = null;
      say(this.total, "");
      this.stale(false);
      this.root.dataset.shown = "";
      return say(
        this.note,
        "Click a place in the picture or a map: here stand the window, the kernel and their products.",
      );
    }
    this.stale(!found && !failure);
    if (found && found !== this.drawn) this.paint(found);
    this.root.dataset.shown = found ? `${found.unit} ${found.value}` : "";
    if (!failure)
      say(this.note, found ? "blue is below 0, orange above; each table has colours of its own" : "multiplying …");
  }

  private paint(found: Arithmetic): void {
    this.drawn = found;
    const { inputs, height, width, rest, restCount, bias, value, then } = found;
    const size = height * width;
    const plane = (which: number, i: number) => ({
      height,
      width,
      values: found.values.subarray((which * inputs.length + i) * size, (which * inputs.length + i + 1) * size),
    });
    const diverging = this.store.colours.diverging;
    const figure = (which: number, i: number, name: string) =>
      el("figure", {}, numbers(plane(which, i), diverging, name), el("figcaption", { class: "caption" }, name));
    this.rows.replaceChildren(
      ...inputs.map(({ number, sum }, i) =>
        el(
          "div",
          { class: "equation" },
          figure(0, i, `window of input ${number}`),
          el("span", {}, "×"),
          figure(1, i, "kernel"),
          el("span", {}, "="),
          figure(2, i, "products"),
          el("span", { class: "sum" }, `sum ${short(sum)}`),
        ),
      ),
    );
    const others = restCount ? ` + ${short(rest)} from ${restCount} other inputs` : "";
    const sums = inputs.map(({ sum }) => short(sum)).join(" + ");
    const behind = then.map(([layer, v]) => ` → ${layer} → ${short(v)}`).join("");
    say(this.total, `${found.unit} = ${sums}${others} + bias ${short(bias)} = ${short(value)}${behind}`);
  }
}

/** What the answer would be if the selected unit were off, weaker or stronger, beside random other units. */
import { el, say, short } from "../shared/dom";
import type { Ablation } from "../shared/protocol";
import type { Store } from "../shared/store";
import { noPicture } from "./activations";
import { View } from "./view";

export class AblationView extends View {
  private readonly slider = el("input", { type: "range", min: 0, max: 3, step: 0.25, "aria-label": "times" });
  private readonly factor = el("output", { class: "text" });
  private readonly table = el("table", { class: "changes" });
  private readonly accuracy = el("p", { class: "words" });
  private drawn: Ablation | null = null;

  constructor(store: Store) {
    super(store, "ablation", "And without this unit?");
    this.slider.value = String(store.scale);
    this.slider.addEventListener("input", () => {
      store.scale = Number(this.slider.value);
    });
    const label = el("label", { class: "slider" }, el("span", {}, "its answers times"), this.slider, this.factor);
    this.body.append(label, this.table, this.accuracy);
  }

  draw(): void {
    const { store } = this;
    const failure = store.picture ? store.failure("ablation") : noPicture(store);
    const found = store.ablation();
    this.stale(!found && !failure);
    this.empty(failure);
    const { layer, channel } = store.selection;
    say(this.factor, store.scale === 0 ? "0, off" : short(store.scale));
    if (found && found !== this.drawn) {
      this.drawTable(found);
      this.drawn = found;
    }
    this.root.dataset.shown = found ? `${layer}:${channel} ${found.scale}` : "";
    if (!failure) say(this.note, found ? found.alt : `without ${layer}:${channel} …`);
  }

  private drawTable(found: Ablation): void {
    const largest = Math.max(
      1e-9,
      ...found.rows.flatMap((r) => [Math.abs(r.after - r.before), Math.abs(r.control ?? 0)]),
    );
    const head = el(
      "tr",
      {},
      ...["class", "score", "this unit", "random units"].map((text) => el("th", { scope: "col" }, text)),
    );
    const rows = found.rows.map((row) => {
      const change = row.after - row.before;
      return el(
        "tr",
        {},
        el("td", { title: row.label }, row.label),
        el("td", {}, `${short(row.before)} → ${short(row.after)}`),
        el("td", {}, bar(change, largest)),
        el("td", {}, row.control === null ? "–" : bar(row.control, largest)),
      );
    });
    this.table.replaceChildren(head, ...rows);
    const a = found.accuracy;
    const percent = (x: number) => `${x > 0 ? "+" : ""}${(100 * x).toFixed(1)} points`;
    say(
      this.accuracy,
      a
        ? `Accuracy over ${a.count} pictures: ${percent(a.change)}${a.control === null ? "" : ` (random units ${percent(a.control)})`}; ` +
            `most for ${a.worst}: ${percent(a.worstChange)}.`
        : "",
    );
  }
}

/** A bar from the middle to the right for more, to the left for less, with its number. */
function bar(value: number, largest: number): HTMLElement {
  const width = (50 * Math.abs(value)) / largest;
  const from = value < 0 ? 50 - width : 50;
  const piece = el("div", { class: value < 0 ? "piece less" : "piece more", style: `left:${from}%;width:${width}%` });
  return el("div", { class: "change" }, piece, el("span", {}, `${value > 0 ? "+" : ""}${short(value)}`));
}

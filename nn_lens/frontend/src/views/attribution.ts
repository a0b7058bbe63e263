/** What in the picture speaks for a class or the selected unit: every method, beside itself on shuffled weights. */
import { el, say, short } from "../shared/dom";
import type { Attribution } from "../shared/protocol";
import type { Store } from "../shared/store";
import { noPicture } from "./activations";
import { View } from "./view";

export class AttributionView extends View {
  private readonly select = el("select", { "aria-label": "what is to be explained", onchange: () => this.choose() });
  private readonly methods = el("div", { class: "methods" });
  private options = "";
  private drawn: (ImageBitmap | null | string)[] = [];

  constructor(store: Store) {
    super(store, "attribution", "Why this answer?");
    this.tools.append(this.select);
    this.body.append(this.methods);
  }

  draw(): void {
    const { store } = this;
    const failure = store.picture ? store.failure("attribution") : noPicture(store);
    const found = store.attributions();
    this.stale(!found.length && !failure);
    this.empty(failure);
    this.offer();
    const state = found.map((a) => a.sheet ?? a.reason ?? null);
    if (found.length && (state.length !== this.drawn.length || state.some((s, i) => s !== this.drawn[i]))) {
      this.methods.replaceChildren(...found.map((a) => tile(a)));
      this.drawn = state;
    }
    const target = found.find((a) => a.target)?.target;
    this.root.dataset.shown = `${target ?? ""} ${found.length}`;
    if (!failure)
      say(
        this.note,
        target
          ? `Evidence for ${target}: orange speaks for it, blue against. Right of each map the same method on shuffled ` +
              "weights: a map that looks alike there tells nothing of what was learned."
          : "asking each method …",
      );
  }

  /** The most probable classes and the selected unit, to choose from. */
  private offer(): void {
    const { layer, channel } = this.store.selection;
    const scores = this.store.scores() ?? [];
    const options = [...scores.map(([label], i) => [String(i), label]), ["unit", `unit ${layer}:${channel}`]];
    if (!scores.length) options.unshift(["0", "the most probable class"]);
    const text = JSON.stringify(options);
    if (text !== this.options) {
      this.options = text;
      this.select.replaceChildren(...options.map(([value, label]) => el("option", { value }, label)));
    }
    this.select.value = this.store.attributionTarget === null ? "unit" : String(this.store.attributionTarget);
  }

  private choose(): void {
    this.store.attributionTarget = this.select.value === "unit" ? null : Number(this.select.value);
  }
}

function tile(found: Attribution): HTMLElement {
  const name = el("figcaption", { class: "caption" }, found.method);
  if (found.reason) {
    const why = el("details", {}, el("summary", {}, "not for this network"), found.reason);
    return el("figure", { class: "method" }, name, why);
  }
  const canvas = el("canvas", { role: "img" });
  canvas.setAttribute("aria-label", found.alt);
  canvas.title = found.alt;
  if (found.sheet) {
    canvas.width = found.sheet.width;
    canvas.height = found.sheet.height;
    canvas.getContext("2d")?.drawImage(found.sheet, 0, 0);
  }
  const alike = found.similarity === null ? "" : `alike on shuffled weights ${short(found.similarity)}`;
  const error = found.error === null ? "" : `; does not add up by ${(100 * found.error).toFixed(1)} %`;
  return el("figure", { class: "method" }, name, canvas, el("div", { class: "caption" }, alike + error));
}

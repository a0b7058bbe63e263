/** Which units an answer comes from: what each adds, where it takes that from, what it wants; a click walks to it. */
import { el, short } from "../drawing/dom";
import { bitmap, drawFrom } from "../drawing/sheet";
import type { Message } from "../panel/protocol";
import type { Store } from "../panel/store";
import { cut } from "../panel/words";
import { TargetChoice } from "./target";
import { AnswerView } from "./view";

interface Added {
  channel: number;
  value: number;
}

/** The units of a layer that add most to an answer, and a sheet each of their maps, parts of the input, images and examples. */
export interface Contributions {
  layer: string;
  target: string;
  score: number;
  total: number;
  rest: number;
  count: number;
  alt: string;
  note: string;
  units: Added[];
  control: { units: Added[]; similarity: number | null } | null;
  /** Real pictures of each unit. */
  examples: number;
  sheets: (ImageBitmap | null)[];
}

export async function decodeContributions(head: Message, buffers: DataView[]): Promise<Contributions> {
  return { ...(head as unknown as Contributions), sheets: await Promise.all(buffers.map(bitmap)) };
}

const [MAPS, PARTS, IMAGES, EXAMPLES] = [0, 1, 2, 3];

export class ContributionsView extends AnswerView<"contributions"> {
  private readonly choice: TargetChoice;
  private readonly sum = el("p", { class: "words sum" });
  private readonly rows = el("div", {
    class: "speaking",
    role: "group",
    "aria-label": "units that speak for the answer",
  });
  private readonly twin = el("p", { class: "words twin" });

  constructor(store: Store) {
    super(store, "contributions", "contributions");
    this.choice = new TargetChoice(store);
    this.tools.append(this.choice.root);
    this.body.append(this.sum, this.rows, this.twin);
  }

  override draw(): void {
    super.draw();
    this.choice.draw();
  }

  protected shown({ layer, units, sheets }: Contributions): string {
    return `${layer}:${units.map(({ channel }) => channel)} ${sheets.filter(Boolean).length}`;
  }

  protected tell({ target, layer, count, alt, note }: Contributions): string {
    this.root.title = alt;
    const more = note ? ` ${note}` : "";
    return (
      `What each of the ${count} units of ${layer} adds to ${target}: its activations times their weight in the answer. ` +
      `The coloured picture is where the unit takes it from, orange for, blue against. A click goes to the unit.${more}`
    );
  }

  protected waiting(): string {
    return "adding up what each unit says …";
  }

  protected paint(found: Contributions): void {
    const { units, control, score, total, rest } = found;
    const first = units.reduce((sum, { value }) => sum + value, 0);
    const more = (value: number) => `${value < 0 ? "−" : "+"} ${short(Math.abs(value))}`;
    this.sum.textContent =
      `score ${short(score)} = ${short(first)} from these ${units.length} ${more(total - first)} from the others ` +
      `${more(rest)} from biases and other ways`;
    const twins = control?.units ?? [];
    const largest = Math.max(1e-9, ...[...units, ...twins].map(({ value }) => Math.abs(value)));
    this.rows.replaceChildren(this.head(found), ...units.map((unit, i) => this.row(found, unit, i, largest)));
    this.twin.replaceChildren();
    if (!control) return;
    const names = twins.slice(0, 4).map(({ channel, value }) => `${channel} (${value > 0 ? "+" : ""}${short(value)})`);
    const alike =
      control.similarity === null ? "" : `; alike ${short(control.similarity)}, 1 would be the same ranking`;
    this.twin.textContent = `With shuffled weights other units are first: ${names.join(", ")}${alike}.`;
  }

  /** What stands in each column. */
  private head({ sheets, examples }: Contributions): HTMLElement {
    const columns = [
      ...(sheets[MAPS] ? ["its map"] : []),
      "its part",
      "it wants",
      ...(examples ? ["real pictures of it"] : []),
    ];
    const seen = columns.map((text) => el("span", {}, this.words(text)));
    return el(
      "div",
      { class: "speaks head", "aria-hidden": "true" },
      el("span", {}, "unit, and what it adds"),
      el("span", { class: "seen" }, ...seen),
    );
  }

  private row(found: Contributions, { channel, value }: Added, index: number, largest: number): HTMLElement {
    const { layer, units, sheets, examples } = found;
    const name = `${layer}:${channel}`;
    const size = `${value > 0 ? "+" : ""}${short(value)}`;
    const draw = (which: number, label: string, at = index, count = units.length) => {
      const sheet = sheets[which];
      const canvas = el("canvas", { role: "img", "aria-label": this.words(`${label} of ${name}`), title: label });
      if (sheet) drawFrom(canvas, sheet, at, count);
      else canvas.classList.add("none");
      return canvas;
    };
    const real = Array.from({ length: examples }, (_, n) =>
      draw(EXAMPLES, "picture that activates it most", index * examples + n, units.length * examples),
    );
    const bar = el("div", {
      class: value < 0 ? "bar less" : "bar more",
      style: `width:${(100 * Math.abs(value)) / largest}%`,
    });
    return el(
      "button",
      {
        type: "button",
        class: "speaks",
        "aria-label": `${name} adds ${size}; go there`,
        onclick: () => this.store.sight.select(layer, channel),
      },
      el("span", { class: "who", title: name }, cut(name, 16)),
      el("span", { class: "adds" }, bar, el("span", { class: "much" }, size)),
      el(
        "span",
        { class: "seen" },
        ...(sheets[MAPS] ? [draw(MAPS, "activation map")] : []),
        draw(PARTS, "its part of the picture"),
        draw(IMAGES, "maximizing image"),
        ...real,
      ),
    );
  }
}

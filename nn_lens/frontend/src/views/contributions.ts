/** Which units an answer comes from: what each adds, where it takes that from, what it wants; a click walks to it. */
import { el, say, short } from "../drawing/dom";
import { bitmap, drawFrom } from "../drawing/sheet";
import type { Message } from "../panel/protocol";
import type { Store } from "../panel/store";
import type { Phrase } from "../panel/strings";
import { cut, phrase } from "../panel/words";
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
  /** Why it could not be followed where units take it from, "" where it could. */
  unfollowed: string;
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
    "aria-label": phrase("speaks.label"),
  });
  /** One for all answers: where it stands, under the controls, is kept at the element. */
  private readonly columns = el("div", { class: "speaks head stays", "aria-hidden": "true" });
  private readonly twin = el("p", { class: "words twin" });
  private readonly unfollowed = el("p", { class: "words unfollowed", hidden: true });

  constructor(store: Store) {
    super(store, "contributions", "contributions");
    this.choice = new TargetChoice(store);
    this.tools.append(this.choice.root);
    this.body.append(this.sum, this.unfollowed, this.rows, this.twin);
  }

  override draw(): void {
    super.draw();
    this.choice.draw();
  }

  protected shown({ layer, units, sheets }: Contributions): string {
    return `${layer}:${units.map(({ channel }) => channel)} ${sheets.filter(Boolean).length}`;
  }

  protected tell({ target, layer, count, alt, note, unfollowed }: Contributions): string {
    this.root.title = alt;
    const parts = unfollowed ? [] : [phrase("speaks.parts")];
    return [phrase("speaks.note", { count, layer, target }), ...parts, phrase("speaks.how"), note].join(" ").trim();
  }

  protected waiting(): string {
    return phrase("speaks.waiting");
  }

  protected paint(found: Contributions): void {
    const { units, control, score, total, unfollowed } = found;
    const first = units.reduce((sum, { value }) => sum + value, 0);
    const sum = summed(score, first, total - first);
    const parts = { first: sum.first, others: sum.others, rest: sum.rest };
    this.sum.textContent = phrase("speaks.sum", { score: sum.score, count: units.length, ...parts });
    this.unfollowed.hidden = !unfollowed;
    say(this.unfollowed, unfollowed ? this.phrase("speaks.unfollowed", { why: unfollowed }) : "");
    const twins = control?.units ?? [];
    const largest = Math.max(1e-9, ...[...units, ...twins].map(({ value }) => Math.abs(value)));
    this.head(found);
    this.rows.replaceChildren(this.columns, ...units.map((unit, i) => this.row(found, unit, i, largest)));
    this.twin.replaceChildren();
    if (!control) return;
    const names = twins.slice(0, 4).map(({ channel, value }) => `${channel} (${value > 0 ? "+" : ""}${short(value)})`);
    const { similarity } = control;
    const values = { units: names.join(", "), similarity: similarity === null ? "" : short(similarity) };
    this.twin.textContent = phrase(similarity === null ? "speaks.twin" : "speaks.twinAlike", values);
  }

  /** What stands in each column. */
  private head({ sheets, examples, unfollowed }: Contributions): void {
    const keys: Phrase[] = [
      ...(sheets[MAPS] ? (["speaks.map"] as const) : []),
      ...(unfollowed ? [] : (["speaks.part"] as const)),
      "speaks.wants",
      ...(examples ? (["speaks.examples"] as const) : []),
    ];
    const seen = keys.map((key) => el("span", {}, this.phrase(key)));
    this.columns.replaceChildren(el("span", {}, phrase("speaks.adds")), el("span", { class: "seen" }, ...seen));
  }

  private row(found: Contributions, { channel, value }: Added, index: number, largest: number): HTMLElement {
    const { layer, units, sheets, examples, unfollowed } = found;
    const name = `${layer}:${channel}`;
    const size = `${value > 0 ? "+" : ""}${short(value)}`;
    const draw = (which: number, key: Phrase, at = index, count = units.length) => {
      const sheet = sheets[which];
      const title = this.phrase(key);
      const canvas = el("canvas", { role: "img", "aria-label": phrase("speaks.alt", { title, name }), title });
      if (sheet) drawFrom(canvas, sheet, at, count);
      else canvas.classList.add("none");
      return canvas;
    };
    const real = Array.from({ length: examples }, (_, n) =>
      draw(EXAMPLES, "speaks.example", index * examples + n, units.length * examples),
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
        "aria-label": phrase("speaks.go", { name, size }),
        onclick: () => this.store.sight.select(layer, channel),
      },
      // All are of one layer: of its name there may be a part, the unit's number is always there.
      el("span", { class: "who", title: name }, el("span", {}, cut(layer, 12)), `:${channel}`),
      el("span", { class: "adds" }, el("span", { class: "track" }, bar), el("span", { class: "much" }, size)),
      el(
        "span",
        { class: "seen" },
        ...(sheets[MAPS] ? [draw(MAPS, "speaks.mapAlt")] : []),
        ...(unfollowed ? [] : [draw(PARTS, "speaks.partAlt")]),
        draw(IMAGES, "speaks.image"),
        ...real,
      ),
    );
  }
}

/**
 * A score and the parts that it is made of, rounded alike, so that they add up as they stand: what is left is the last.
 * A score too small or too large for that is told with its parts as numbers are elsewhere.
 */
function summed(score: number, first: number, others: number) {
  const size = Math.abs(score);
  const places = size >= 1e-3 && size < 1e5 ? Math.max(0, 2 - Math.floor(Math.log10(size))) : null;
  const show = (value: number) => (places === null ? short(value) : value.toFixed(places));
  const round = (value: number) => (places === null ? value : Number(value.toFixed(places)));
  const signed = (value: number) => `${value < 0 ? "−" : "+"} ${show(Math.abs(value))}`;
  const rest = round(score) - round(first) - round(others);
  return { score: show(score), first: show(first), others: signed(others), rest: signed(round(rest)) };
}

/** What in the picture speaks for a class or the selected unit: every method, beside itself on shuffled weights. */
import { el, short } from "../drawing/dom";
import { bitmap, drawFrom } from "../drawing/sheet";
import type { Message } from "../panel/protocol";
import type { Store } from "../panel/store";
import { isWide, phrase } from "../panel/words";
import { TargetChoice } from "./target";
import { AnswerView } from "./view";

/** What in the picture speaks for a target, by one method: its map and that of shuffled weights, or why there is none. */
export interface Attribution {
  method: string;
  reason?: string;
  target: string;
  alt: string;
  tiles: number;
  similarity: number | null;
  error: number | null;
  sheet: ImageBitmap | null;
}

/** The methods that have answered so far. */
export async function decodeAttribution(head: Message, [sheet]: DataView[], before: unknown): Promise<Attribution[]> {
  return [
    ...((before as Attribution[] | undefined) ?? []),
    { ...(head as unknown as Attribution), sheet: await bitmap(sheet) },
  ];
}

export class AttributionView extends AnswerView<"attribution"> {
  private readonly choice: TargetChoice;
  private readonly methods = el("div", { class: "methods" });

  constructor(store: Store) {
    super(store, "attribution", "attribution");
    this.choice = new TargetChoice(store);
    this.tools.append(this.choice.root);
    this.body.append(this.methods);
  }

  override draw(): void {
    super.draw();
    this.choice.draw();
  }

  protected shown(methods: Attribution[]): string {
    return `${target(methods) ?? ""} ${methods.length}`;
  }

  protected tell(methods: Attribution[]): string {
    const name = target(methods);
    if (!name) return this.store.isAsked("attribution") ? this.waiting() : phrase("attribution.nothing");
    return phrase("attribution.note", { name });
  }

  protected waiting(): string {
    return phrase("attribution.waiting");
  }

  protected paint(methods: Attribution[]): void {
    this.methods.replaceChildren(
      ...methods.map((method) => this.tile({ ...method, alt: this.words(method.alt ?? "") })),
    );
  }

  private tile({ method, reason, alt, sheet, tiles, similarity, error }: Attribution): HTMLElement {
    const name = el("figcaption", { class: "caption" }, el("b", {}, method));
    if (reason) {
      const why = el("details", {}, el("summary", {}, phrase("attribution.none")), reason);
      return el("figure", { class: "method" }, name, why);
    }
    // Rows stand below one another in one picture, all else beside one another.
    const parts = isWide(this.store.network) ? 1 : tiles;
    const columns = Array.from({ length: parts }, (_, i) => {
      const canvas = el("canvas", {
        role: "img",
        "aria-label": i ? phrase("attribution.shuffledAlt", { alt: alt ?? "" }) : alt,
        title: alt,
      });
      if (sheet) drawFrom(canvas, sheet, i, parts);
      const heading = phrase(i ? "attribution.shuffled" : "attribution.own");
      return el("div", {}, el("div", { class: "caption" }, parts > 1 ? heading : ""), canvas);
    });
    const alike = similarity === null ? "" : phrase("attribution.alike", { similarity: short(similarity) });
    const off = error === null ? "" : phrase("attribution.error", { error: (100 * error).toFixed(1) });
    const both = parts === 1 && tiles > 1 ? phrase("attribution.both") : "";
    const twins = el("div", { class: "twins" }, ...columns);
    return el("figure", { class: "method" }, name, twins, el("div", { class: "caption" }, both + alike + off));
  }
}

function target(methods: Attribution[]): string | undefined {
  return methods.find((each) => each.target)?.target;
}

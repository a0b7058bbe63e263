/** Where the network is wrong: the pictures of the dataset that it calls wrong, or least surely; a click looks at one. */
import { el, say } from "../drawing/dom";
import { bitmap, drawFrom } from "../drawing/sheet";
import type { Message } from "../panel/protocol";
import type { Store } from "../panel/store";
import { phrase } from "../panel/words";
import { View } from "./view";

interface Wrong {
  index: number;
  said: string;
  probability: number;
  /** What it is, null where that is not known. */
  true: string | null;
  trueIndex: number | null;
}

export interface Mistakes {
  rows: Wrong[];
  pairs: { true: string; said: string; count: number }[];
  worst: { name: string; share: number }[];
  count: number;
  labelled: number;
  wrong: number;
  total: number | null;
  accuracy: number | null;
  skipped: number;
  finished: boolean;
  alt: string;
  sheet: ImageBitmap | null;
}

export async function decodeMistakes(head: Message, [sheet]: DataView[]): Promise<Mistakes> {
  return { ...(head as unknown as Mistakes), sheet: await bitmap(sheet) };
}

export class MistakesView extends View {
  private readonly look = el("button", { type: "button", class: "look" }, phrase("mistakes.look"));
  private readonly stop = el("button", { type: "button", class: "stop" }, phrase("stop"));
  private readonly bar = el("progress", { max: 1 });
  private readonly words_ = el("p", { class: "words" });
  private readonly tiles = el("div", { class: "wrong", role: "group" });
  private painted: Mistakes | null = null;

  constructor(store: Store) {
    super(store, "mistakes", "mistakes");
    this.bar.setAttribute("aria-label", this.phrase("mistakes.seen"));
    this.tiles.setAttribute("aria-label", this.phrase("mistakes.wrong"));
    this.look.addEventListener("click", () => {
      store.asking.goOn("mistakes");
      store.asking.demand("mistakes");
    });
    this.stop.addEventListener("click", () => store.asking.stop("mistakes"));
    this.tools.append(this.bar, this.stop, this.look);
    this.body.append(this.tiles, this.words_);
    if (!store.live) store.asking.demand("mistakes");
  }

  draw(): void {
    const { store } = this;
    const why = store.failure("mistakes");
    const [found, asked] = [store.answer("mistakes"), store.isAsked("mistakes")];
    this.look.hidden = asked || (found?.finished ?? false) || !store.live;
    this.stop.hidden = this.bar.hidden = !asked;
    if (found?.total) this.bar.value = found.count / found.total;
    else this.bar.removeAttribute("value");
    this.empty(why);
    if (found && found !== this.painted) {
      this.painted = found;
      this.paint(found);
    }
    this.root.dataset.shown = found ? `${found.count} ${found.wrong}${found.finished ? " finished" : ""}` : "";
    if (!why) say(this.note, this.words(found ? this.tell(found) : phrase("mistakes.before")));
  }

  private tell({ finished, alt, count, total, rows }: Mistakes): string {
    const far = total ? phrase("mistakes.soFarOf", { count, total }) : phrase("mistakes.soFar", { count });
    return `${finished ? "" : `${far} `}${alt}.${rows.length ? ` ${phrase("mistakes.how")}` : ""}`;
  }

  private paint({ rows, pairs, worst, sheet }: Mistakes): void {
    this.tiles.replaceChildren(...rows.map((row, i) => this.tile(row, sheet, i, rows.length)));
    const confused = pairs.map(({ true: is, said, count }) => phrase("mistakes.pair", { is, said, count })).join(", ");
    const weak = worst.map(({ name, share }) => `${name} ${Math.round(100 * share)} %`).join(", ");
    const told = [confused && phrase("mistakes.confused", { confused }), weak && phrase("mistakes.weak", { weak })];
    this.words_.textContent = told.filter(Boolean).join(" ");
  }

  private tile(row: Wrong, sheet: ImageBitmap | null, index: number, count: number): HTMLElement {
    const { said, probability, true: is } = row;
    const sure = `${Math.round(100 * probability)} %`;
    const called = phrase("mistakes.called", { said, sure });
    const label = is === null ? called : `${is}, ${called}`;
    const alt = this.phrase("mistakes.alt", { index: row.index, label });
    const canvas = el("canvas", { role: "img", "aria-label": alt });
    if (sheet) drawFrom(canvas, sheet, index, count);
    return el(
      "button",
      { type: "button", class: "tile", title: label, disabled: !this.store.live, onclick: () => this.choose(row) },
      canvas,
      el("span", { class: "caption said" }, said, " ", el("span", { class: "much" }, sure)),
      ...(is === null ? [] : [el("span", { class: "caption true" }, phrase("mistakes.is", { is }))]),
    );
  }

  /** Makes a picture the panel's, and asks why what it said rather than what it is. */
  private choose({ index, true: is, trueIndex }: Wrong): void {
    const { store } = this;
    store.pictures.chooseFromDataset(index);
    const rather = is === null || trueIndex === null ? null : { value: `#${trueIndex}`, name: is };
    store.look.see({ target: 0, rather });
  }
}

/** A page of maximizing images, drawn as they become sharper. */
import { brief, el, say, short, caption as write } from "../drawing/dom";
import { clear, loaded, show, still } from "../drawing/still";
import type { Message } from "../panel/protocol";
import { pageNumber, pageOf, pageStart } from "../panel/questions";
import type { Store } from "../panel/store";
import { phrase } from "../panel/words";
import { GONE, View } from "./view";

/** Maximizing images of some units. */
export interface Page {
  layer: string;
  channels: number[];
  height: number;
  width: number;
  step: number;
  /** Of how many. */
  steps: number;
  finished: boolean;
  /** Those whose images are finished. */
  made?: number[];
  /** null: not begun, and grey. */
  activations: (number | null)[];
  notes: string[];
  dead: boolean[];
  /** What a unit reaches on a real picture that leads it further than its image does; null: there is none. */
  reached?: (number | null)[];
  weights: number;
  pictures: HTMLImageElement[];
  /** By unit, that real picture. */
  real: (HTMLImageElement | null)[];
}

export async function decodePage(head: Message, buffers: DataView[]): Promise<Page> {
  const page = head as unknown as Page;
  const all = await Promise.all(buffers.map(loaded));
  const pictures = all.splice(0, page.activations.length);
  const real = page.activations.map((_, i) => ((page.reached?.[i] ?? null) === null ? null : (all.shift() ?? null)));
  return { ...page, pictures, real };
}

/** Shows what a unit wants most; whether it is a real picture, that leads it further than its image does. */
export function showWanted(image: HTMLImageElement, page: Page, index: number): boolean {
  const real = page.real[index];
  show(image, real ?? page.pictures[index]);
  return real !== null;
}

/** What a unit wants most: its image, or a real picture that leads it further, and then the image in its corner. */
export class Wanted {
  readonly image = still({ alt: phrase("card.absent") });
  private readonly corner = still({ class: "corner", hidden: true });

  constructor(private readonly root: HTMLElement) {
    root.append(this.image);
  }

  /** Draws unit `index` of a page, and gives what the picture reaches that comes first. */
  paint(page: Page, index: number, alt: string, altOfReal: (value: string) => string): string {
    const value = page.activations[index];
    const { image, corner } = this;
    const isReal = showWanted(image, page, index);
    if (isReal && !corner.isConnected) this.root.append(corner);
    corner.hidden = !isReal;
    const reached = page.reached?.[index] ?? null;
    if (!isReal || reached === null) {
      image.alt = alt;
      return value === null ? "…" : brief(value);
    }
    show(corner, page.pictures[index]);
    corner.alt = alt;
    image.alt = altOfReal(short(reached));
    return phrase("page.real", { value: brief(reached) });
  }

  /** Nothing, and why. */
  clear(why: string): void {
    clear(this.image);
    this.image.alt = why;
    this.corner.hidden = true;
  }
}

interface Tile {
  root: HTMLButtonElement;
  wanted: Wanted;
  caption: HTMLElement;
}

export class MaximizationView extends View {
  private readonly tiles: Tile[] = [];
  private readonly button = el(
    "button",
    { type: "button", class: "stop", onclick: () => this.toggle() },
    phrase("stop"),
  );
  private readonly back = el("button", { type: "button", onclick: () => this.turn(-1) }, "‹");
  private readonly on = el("button", { type: "button", onclick: () => this.turn(1) }, "›");
  private readonly where = el("span", { class: "where" });
  private readonly bar = el("progress", { max: 1, hidden: true });
  private drawn: Page | null = null;

  constructor(store: Store) {
    super(store, "maximization");
    this.body.classList.add("page");
    for (const [button, text] of [
      [this.back, phrase("page.before")],
      [this.on, phrase("page.next")],
    ] as const) {
      button.title = text;
      button.setAttribute("aria-label", text);
    }
    this.tools.append(this.bar, this.button, this.back, this.where, this.on);
  }

  draw(): void {
    const { store } = this;
    const why = this.whyNot("page");
    const page = store.answer("page");
    const stopped = store.asking.isStopped("page");
    this.stale(!page && !why);
    this.empty(why);
    this.button.hidden = store.conversation.running("page") === null && !stopped;
    say(this.button, phrase(stopped ? "goOn" : "stop"));
    if (!why) say(this.note, this.words(this.tell(page)));
    const channels = this.channels();
    this.drawPlace();
    this.bar.hidden = stopped || page?.finished !== false;
    if (page) this.bar.value = page.step / page.steps;
    this.bar.setAttribute("aria-label", phrase("page.progress", { step: page?.step ?? 0, steps: page?.steps ?? 0 }));
    if (!page) {
      // The page's places are laid out before its pictures come, so that nothing jumps.
      this.lay(channels.length);
    } else if (page !== this.drawn) {
      this.lay(channels.length);
      for (const [i, tile] of this.tiles.slice(0, channels.length).entries()) this.paint(tile, page, i);
      this.drawn = page;
      this.root.dataset.step = String(page.step);
    }
    for (const [i, channel] of channels.entries()) {
      const { root, caption } = this.tiles[i];
      root.setAttribute("aria-pressed", String(channel === store.selection.channel));
      if (!page) write(caption, store.nameOf(store.layer.name, channel), "");
    }
    this.root.dataset.shown = page ? `${page.layer} ${page.channels[0]} ${page.finished ? "finished" : "running"}` : "";
  }

  private tell(page: Page | undefined): string {
    const { channel } = this.store.selection;
    if (this.store.asking.isStopped("page"))
      return page ? phrase("page.stoppedAt", { step: page.step }) : phrase("page.stopped");
    if (!page) return this.store.conversation.lost ? GONE : phrase("page.waiting");
    if (!page.finished) return phrase("page.running", { step: Math.min(page.step, page.steps), steps: page.steps });
    const note = page.notes[page.channels.indexOf(channel)];
    const first = page.reached?.[page.channels.indexOf(channel)] ?? null;
    if (note) return phrase(first === null ? "page.note" : "page.noteOfReal", { channel, note });
    return phrase(this.store.network.kind === "volume" ? "page.doneOfVolumes" : "page.done", { step: page.step });
  }

  private channels(): number[] {
    const { layer, order, selection } = this.store;
    return pageOf(layer, selection.channel, order.ranked);
  }

  private drawPlace(): void {
    const [page, pages] = this.place();
    say(this.where, pages > 1 ? phrase("page.where", { page: page + 1, pages }) : "");
    for (const button of [this.back, this.on]) button.hidden = pages < 2;
    this.back.setAttribute("aria-disabled", String(page === 0));
    this.on.setAttribute("aria-disabled", String(page === pages - 1));
  }

  private place(): [page: number, pages: number] {
    const { layer, order, selection } = this.store;
    return pageNumber(layer, order.at(selection.channel));
  }

  /** Goes to the first unit of a page. */
  private turn(by: number): void {
    const { layer, order, sight } = this.store;
    const [page, pages] = this.place();
    if (page + by >= 0 && page + by < pages) sight.select(layer.name, order.unit(pageStart(page + by)));
  }

  private lay(count: number): void {
    while (this.tiles.length < count) {
      const caption = el("span", { class: "caption" });
      const index = this.tiles.length;
      const choose = () => this.store.sight.select(this.store.selection.layer, this.channels()[index]);
      const root = el("button", { type: "button", class: "tile", onclick: choose });
      const wanted = new Wanted(root);
      root.append(caption);
      this.tiles.push({ root, wanted, caption });
      this.body.append(root);
    }
    // A last page of few units takes the room of a whole one, so that nothing below it moves.
    for (const [i, { root }] of this.tiles.entries()) root.classList.toggle("none", i >= count);
  }

  private paint({ root, wanted, caption }: Tile, page: Page, index: number): void {
    const channel = page.channels[index];
    const value = page.activations[index];
    const note = page.notes[index];
    const unit = `${page.layer}:${channel}`;
    const alt = this.phrase(value === null ? "image.notBegun" : "image.alt", {
      unit,
      value: value === null ? "…" : short(value),
    });
    const reached = wanted.paint(page, index, note ? `${alt}; ${note}` : alt, (most) =>
      phrase("image.ofReal", { unit, value: most }),
    );
    write(caption, this.store.nameOf(page.layer, channel), reached + (page.dead[index] ? phrase("page.dead") : ""));
    root.dataset.channel = String(channel);
  }

  private toggle(): void {
    const { asking } = this.store;
    if (asking.isStopped("page")) asking.goOn("page");
    else asking.stop("page");
  }
}

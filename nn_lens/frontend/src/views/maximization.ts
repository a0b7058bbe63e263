/** A page of maximizing images, drawn as they become sharper. */
import { el, say, short } from "../drawing/dom";
import { bitmap, drawFrom } from "../drawing/sheet";
import type { Message } from "../panel/protocol";
import { pageOf } from "../panel/questions";
import type { Store } from "../panel/store";
import { View } from "./view";

/** Maximizing images of some units, side by side in one bitmap. */
export interface Page {
  layer: string;
  channels: number[];
  height: number;
  width: number;
  step: number;
  finished: boolean;
  activations: number[];
  notes: string[];
  weights: number;
  sheet: ImageBitmap | null;
}

export async function decodePage(head: Message, [sheet]: DataView[]): Promise<Page> {
  return { ...(head as unknown as Page), sheet: await bitmap(sheet) };
}

interface Tile {
  root: HTMLButtonElement;
  canvas: HTMLCanvasElement;
  caption: HTMLElement;
}

export class MaximizationView extends View {
  private readonly tiles: Tile[] = [];
  private readonly button = el("button", { type: "button", class: "stop", onclick: () => this.toggle() }, "Stop");
  private drawn: Page | null = null;

  constructor(store: Store) {
    super(store, "maximization");
    this.body.classList.add("page");
    this.tools.append(this.button);
  }

  draw(): void {
    const { store } = this;
    const why = this.whyNot("page");
    const page = store.answer("page");
    const stopped = store.asking.isStopped("page");
    this.stale(!page && !why);
    this.empty(why);
    this.button.hidden = store.conversation.running("page") === null && !stopped;
    say(this.button, stopped ? "Go on" : "Stop");
    if (!why) say(this.note, this.words(this.tell(page)));
    const channels = this.channels();
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
      if (!page) say(caption, String(channel));
    }
    this.root.dataset.shown = page ? `${page.layer} ${page.channels[0]} ${page.finished ? "finished" : "running"}` : "";
  }

  private tell(page: Page | undefined): string {
    const { channel } = this.store.selection;
    if (this.store.asking.isStopped("page")) return `stopped${page ? ` after ${page.step} steps` : ""}`;
    if (!page) return "making the first pictures …";
    if (!page.finished) return `step ${page.step}: channel · activation`;
    const note = page.notes[page.channels.indexOf(channel)];
    const middle = this.store.network.kind === "volume" ? ", the middle slice of each" : "";
    return note ? `unit ${channel}: ${note}` : `channel · activation, after ${page.step} steps${middle}`;
  }

  private channels(): number[] {
    return pageOf(this.store.layer, this.store.selection.channel);
  }

  private lay(count: number): void {
    while (this.tiles.length < count) {
      const canvas = el("canvas", { role: "img", "aria-label": "not here yet" });
      const caption = el("span", { class: "caption" });
      const index = this.tiles.length;
      const choose = () => this.store.sight.select(this.store.selection.layer, this.channels()[index]);
      const root = el("button", { type: "button", class: "tile", onclick: choose }, canvas, caption);
      this.tiles.push({ root, canvas, caption });
      this.body.append(root);
    }
    for (const [i, { root }] of this.tiles.entries()) root.hidden = i >= count;
  }

  private paint({ root, canvas, caption }: Tile, page: Page, index: number): void {
    const channel = page.channels[index];
    if (page.sheet) drawFrom(canvas, page.sheet, index, page.channels.length);
    const activation = short(page.activations[index]);
    const note = page.notes[index];
    say(caption, `${channel} · ${activation}${note ? " (dead)" : ""}`);
    const name = `Maximizing image of ${page.layer}:${channel}, activation ${activation}`;
    canvas.setAttribute("aria-label", this.words(name + (note ? `; ${note}` : "")));
    root.dataset.channel = String(channel);
  }

  private toggle(): void {
    const { asking } = this.store;
    if (asking.isStopped("page")) asking.goOn("page");
    else asking.stop("page");
  }
}

/** A page of maximizing images, drawn as they become sharper. */
import { el, say, short } from "../shared/dom";
import type { Page } from "../shared/protocol";
import type { Store } from "../shared/store";
import { View } from "./view";

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
    super(store, "maximization", "Maximizing images");
    this.body.classList.add("page");
    this.tools.append(this.button);
  }

  draw(): void {
    const store = this.store;
    const failure = store.failure("page");
    const page = store.page();
    this.stale(!page && !failure);
    this.empty(failure);
    this.button.hidden = store.running === null && !store.stopped;
    say(this.button, store.stopped ? "Go on" : "Stop");
    this.tell(page);
    const channels = store.pageChannels();
    if (!page) {
      // The page's places are laid out before its pictures come, so that nothing jumps.
      this.lay(channels.length);
    } else if (page !== this.drawn) {
      this.lay(channels.length);
      for (const [i, channel] of page.channels.entries()) this.paint(this.tiles[i], page, i, channel);
      this.drawn = page;
      this.root.dataset.step = String(page.step);
    }
    channels.forEach((channel, i) => {
      const tile = this.tiles[i];
      const chosen = channel === store.selection.channel;
      tile.root.setAttribute("aria-pressed", String(chosen));
      if (!page) say(tile.caption, String(channel));
    });
    this.root.dataset.shown = page ? `${page.layer} ${page.channels[0]} ${page.finished ? "finished" : "running"}` : "";
  }

  private tell(page: Page | undefined): void {
    if (this.body.hidden) return;
    const store = this.store;
    const note = page?.notes[page.channels.indexOf(store.selection.channel)];
    if (store.stopped) say(this.note, `stopped${page ? ` after ${page.step} steps` : ""}`);
    else if (!page) say(this.note, "making the first pictures …");
    else if (!page.finished) say(this.note, `step ${page.step}: channel · activation`);
    else
      say(
        this.note,
        note ? `unit ${store.selection.channel}: ${note}` : `channel · activation, after ${page.step} steps`,
      );
  }

  private lay(count: number): void {
    while (this.tiles.length < count) {
      const canvas = el("canvas", { role: "img" });
      const caption = el("span", { class: "caption" });
      const index = this.tiles.length;
      const choose = () => this.store.select(this.store.selection.layer, this.store.pageChannels()[index]);
      const root = el("button", { type: "button", class: "tile", onclick: choose }, canvas, caption);
      this.tiles.push({ root, canvas, caption });
      this.body.append(root);
    }
    this.tiles.forEach((tile, i) => {
      tile.root.hidden = i >= count;
    });
  }

  private paint(tile: Tile, page: Page, index: number, channel: number): void {
    const { width, height } = page;
    if (tile.canvas.width !== width || tile.canvas.height !== height) {
      tile.canvas.width = width;
      tile.canvas.height = height;
    }
    tile.canvas.getContext("2d")?.drawImage(page.sheet, index * width, 0, width, height, 0, 0, width, height);
    const activation = short(page.activations[index]);
    const dead = page.notes[index] ? " (dead)" : "";
    say(tile.caption, `${channel} · ${activation}${dead}`);
    const name = `Maximizing image of ${page.layer}:${channel}, activation ${activation}`;
    tile.canvas.setAttribute("aria-label", name + (page.notes[index] ? `; ${page.notes[index]}` : ""));
    tile.root.dataset.channel = String(channel);
  }

  private toggle(): void {
    if (this.store.stopped) this.store.goOn();
    else this.store.stop();
  }
}

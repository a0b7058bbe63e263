/** The panel's last state as a picture: taken while it rests, shown where no kernel answers. */
import { el } from "../drawing/dom";
import { snapshot } from "../drawing/snapshot";
import { bytes } from "./protocol";
import type { Store } from "./store";
import { STRINGS } from "./strings";
import { phrase } from "./words";

/** Milliseconds without a change after which the picture is taken, and without an answer after which it is shown. */
const [REST, PATIENCE] = [2000, 1500];

export class Asleep {
  readonly root = el("figure", { class: "asleep", hidden: true });
  private timer = 0;
  private taken: Uint8Array = new Uint8Array();

  constructor(
    private readonly store: Store,
    private readonly panel: () => HTMLElement,
    private readonly told: (data: Uint8Array) => void,
  ) {
    const taken: DataView | undefined = store.model.get("_snapshot");
    if (!taken?.byteLength || !store.live) return;
    const alt = phrase("asleep.alt", { unit: `${store.selection.layer}:${store.selection.channel}` });
    const image = el("img", { alt, src: URL.createObjectURL(new Blob([bytes(taken) as BlobPart])) });
    image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
    this.root.append(el("figcaption", { role: "status" }, STRINGS.asleep), image);
    this.timer = window.setTimeout(() => this.show(!store.conversation.answeredEver), PATIENCE);
  }

  /** To be told of each draw. */
  drawn(): void {
    const { store } = this;
    if (!store.conversation.answeredEver) return;
    if (!this.root.hidden) this.show(false);
    clearTimeout(this.timer);
    if (store.live && store.model.get("snapshot")) this.timer = window.setTimeout(() => void this.take(), REST);
  }

  close(): void {
    clearTimeout(this.timer);
  }

  private show(is: boolean): void {
    this.root.hidden = !is;
    this.panel().classList.toggle("sleeps", is);
  }

  private async take(): Promise<void> {
    const panel = this.panel();
    // What is out of sight has no layout; what is at work draws again.
    if (this.store.conversation.busy || !panel.isConnected || !panel.clientWidth) return;
    const data = await snapshot(panel);
    if (!this.store.conversation.answeredEver || same(data, this.taken)) return;
    this.taken = data;
    this.told(data);
    this.store.model.set("_snapshot", new DataView(data.buffer));
    this.store.model.save_changes();
  }
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

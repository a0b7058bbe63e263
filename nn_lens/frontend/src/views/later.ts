/** What comes of a steered unit behind it: the maps of later layers that change most, and what the last of them adds. */
import { el, short } from "../drawing/dom";
import { bitmap, drawFrom } from "../drawing/sheet";
import { markStale } from "../drawing/stale";
import type { Message } from "../panel/protocol";
import type { Store } from "../panel/store";
import { cut, phrase } from "../panel/words";

export interface Later {
  /** By layer the unit that changes most, with its largest answer as it is and steered; two pictures of each in the sheet. */
  units: { layer: string; channel: number; before: number; after: number }[];
  /** The units of `layer` whose contributions to `target` move most. */
  moved: { channel: number; before: number; after: number }[];
  layer: string;
  target: string;
  sheet: ImageBitmap | null;
}

export async function decodeLater(head: Message, [sheet]: DataView[]): Promise<Later> {
  return { ...(head as unknown as Later), sheet: await bitmap(sheet) };
}

/** The later layers below a slider; dimmed while they are of an earlier answer. */
export class LaterLayers {
  readonly root = el("div", { class: "later", role: "group", "aria-label": phrase("later.label") });
  private painted: Later | null = null;

  constructor(private readonly store: Store) {}

  draw(): void {
    const found = this.store.answer("later");
    markStale(this.root, !found);
    if (!found || found === this.painted) return;
    this.painted = found;
    this.root.replaceChildren(...this.maps(found), ...this.moved(found));
    this.root.dataset.shown = found.units.map(({ layer, channel }) => `${layer}:${channel}`).join(" ");
  }

  private maps({ units, sheet }: Later): HTMLElement[] {
    return units.map(({ layer, channel, before, after }, i) => {
      const name = `${layer}:${channel}`;
      const [was, is] = [0, 1].map((n) => {
        const label = phrase(n ? "later.steered" : "later.asItIs", { name });
        const canvas = el("canvas", { role: "img", "aria-label": label, title: label });
        if (sheet) drawFrom(canvas, sheet, 2 * i + n, 2 * units.length);
        return canvas;
      });
      return el(
        "button",
        {
          type: "button",
          class: "tile",
          title: phrase("later.go", { name }),
          onclick: () => this.store.sight.select(layer, channel),
        },
        el("span", { class: "twins" }, was, is),
        el("span", { class: "caption" }, cut(name, 18)),
        el("span", { class: "caption" }, `${short(before)} → ${short(after)}`),
      );
    });
  }

  private moved({ moved, layer, target }: Later): HTMLElement[] {
    if (!moved.length) return [];
    const said = moved.map(({ channel, before, after }) => `${channel}: ${short(before)} → ${short(after)}`).join(", ");
    return [el("p", { class: "words" }, phrase("later.moved", { layer, target, said }))];
  }
}

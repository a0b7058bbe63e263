/** Which units of the layer before feed the selected one; a click walks there. */
import { el, short } from "../drawing/dom";
import { bitmap, drawFrom } from "../drawing/sheet";
import type { Message } from "../panel/protocol";
import type { Store } from "../panel/store";
import { cut, phrase } from "../panel/words";
import { AnswerView } from "./view";

/** The units that feed the selected one, strongest first; their maximizing images side by side, once they are there. */
export interface Incoming {
  units: { layer: string; channel: number; weight: number; picture: boolean }[];
  count: number;
  through: string;
  /** How much of the unit these account for, 0 to 1, and what was not followed. */
  share: number;
  notes: string[];
  alt: string;
  sheet: ImageBitmap | null;
}

export async function decodeIncoming(head: Message, [sheet]: DataView[]): Promise<Incoming> {
  return { ...(head as unknown as Incoming), sheet: await bitmap(sheet) };
}

export class IncomingView extends AnswerView<"incoming"> {
  private readonly row = el("div", { class: "feeding", role: "group", "aria-label": phrase("incoming.label") });

  constructor(store: Store) {
    super(store, "incoming", "incoming");
    this.body.append(this.row);
  }

  protected shown({ units }: Incoming): string {
    const { layer, channel } = this.store.selection;
    return `${layer}:${channel} ${units.filter(({ picture }) => picture).length}`;
  }

  protected tell({ units, count, through, share, notes }: Incoming): string {
    const followed = { share: Math.round(100 * share), note: notes[0] ?? "" };
    const part = share < 1 ? ` ${phrase("incoming.part", followed)}` : "";
    const layers = new Set(units.map(({ layer }) => layer));
    const values = { shown: units.length, count, layer: units[0]?.layer ?? "", through };
    return phrase(layers.size === 1 ? "incoming.note" : "incoming.noteOfMany", values) + part;
  }

  protected waiting(): string {
    return phrase("incoming.waiting");
  }

  protected paint({ units, sheet }: Incoming): void {
    const one = new Set(units.map(({ layer }) => layer)).size === 1;
    const tiles = units.map(({ layer, channel, weight, picture }, i) => {
      const name = `${layer}:${channel}`;
      const size = `${weight > 0 ? "+" : ""}${short(weight)}`;
      const canvas = el("canvas", {
        role: "img",
        "aria-label": this.phrase("incoming.alt", { name, size }),
      });
      if (sheet && picture) drawFrom(canvas, sheet, i, units.length);
      return el(
        "button",
        {
          type: "button",
          class: `tile ${weight > 0 ? "more" : "less"}`,
          onclick: () => this.store.sight.select(layer, channel),
        },
        canvas,
        el("span", { class: "caption", title: name }, one ? this.store.nameOf(layer, channel) : cut(name, 18)),
        el("span", { class: "caption" }, size),
      );
    });
    this.row.replaceChildren(...tiles);
  }
}

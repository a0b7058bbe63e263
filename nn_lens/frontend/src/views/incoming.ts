/** Which units of the layer before feed the selected one; a click walks there. */
import { el, say, short } from "../shared/dom";
import type { Incoming } from "../shared/protocol";
import type { Store } from "../shared/store";
import { View } from "./view";

export class IncomingView extends View {
  private readonly row = el("div", { class: "feeding", role: "group", "aria-label": "units that feed this one" });
  private drawn: Incoming | null = null;

  constructor(store: Store) {
    super(store, "incoming", "What feeds this unit?");
    this.body.append(this.row);
  }

  draw(): void {
    const failure = this.store.failure("incoming");
    const found = this.store.incoming();
    this.stale(!found && !failure);
    this.empty(failure);
    if (found && found !== this.drawn) {
      this.row.replaceChildren(...found.units.map((unit, i) => this.tile(found, unit, i)));
      this.drawn = found;
    }
    const { layer, channel } = this.store.selection;
    this.root.dataset.shown = found ? `${layer}:${channel} ${found.units.filter((u) => u.picture).length}` : "";
    if (failure) return;
    say(
      this.note,
      found
        ? `${found.units.length} of ${found.count} units, by their weights in ${found.through}: orange drives, blue holds back. ` +
            "A click goes there."
        : "following the weights …",
    );
  }

  private tile(found: Incoming, unit: Incoming["units"][number], index: number): HTMLElement {
    const name = `${unit.layer}:${unit.channel}`;
    const weight = `${unit.weight > 0 ? "+" : ""}${short(unit.weight)}`;
    const canvas = el("canvas", { role: "img", "aria-label": `Maximizing image of ${name}, weight ${weight}` });
    if (found.sheet && unit.picture) {
      canvas.width = found.sheet.width / found.units.length;
      canvas.height = found.sheet.height;
      canvas.getContext("2d")?.drawImage(found.sheet, -index * canvas.width, 0);
    }
    const sign = unit.weight > 0 ? "more" : "less";
    return el(
      "button",
      { type: "button", class: `tile ${sign}`, onclick: () => this.store.select(unit.layer, unit.channel) },
      canvas,
      el("span", { class: "caption" }, name),
      el("span", { class: "caption" }, weight),
    );
  }
}

/** Which units answer most at the place that is looked at, each with its maximizing image: a dictionary of what is seen. */
import { el, say, short } from "../shared/dom";
import { RANKED, type Store } from "../shared/store";
import { noPicture } from "./activations";
import { View } from "./view";

export class HereView extends View {
  private readonly tiles = Array.from({ length: RANKED }, () => {
    const canvas = el("canvas", { role: "img" });
    const caption = el("span", { class: "caption" });
    const root = el("button", { type: "button", class: "tile" }, canvas, caption);
    return { canvas, caption, root, drawn: "", channel: 0 };
  });
  private readonly row = el("div", { class: "ranked", role: "group", "aria-label": "units that answer most here" });

  constructor(store: Store) {
    super(store, "here", "What answers here?");
    for (const tile of this.tiles) {
      tile.root.addEventListener("click", () => {
        // One that is disabled would lose the focus, and the keys with it.
        if (tile.root.getAttribute("aria-disabled") === "false") store.select(store.selection.layer, tile.channel);
      });
      this.row.append(tile.root);
    }
    this.body.append(this.row);
  }

  draw(): void {
    const { store } = this;
    const { layer, channel } = store.selection;
    const failure = store.picture ? store.failure("here") : noPicture(store);
    const ranked = failure ? [] : store.ranked();
    const neuron = store.neuron();
    this.empty(failure);
    this.tiles.forEach((tile, i) => {
      const found = ranked[i];
      tile.root.setAttribute("aria-disabled", String(!found));
      if (!found) {
        tile.root.setAttribute("aria-label", "no unit yet");
        say(tile.caption, " ");
        tile.canvas.classList.add("none");
        tile.drawn = "";
        return;
      }
      tile.root.setAttribute("aria-label", `${layer}:${found[0]}, answers ${short(found[1])}`);
      tile.channel = found[0];
      tile.root.setAttribute("aria-pressed", String(found[0] === channel));
      say(tile.caption, `${found[0]} · ${short(found[1])}`);
      const there = store.drawImageOf(tile.canvas, layer, found[0]);
      tile.canvas.classList.toggle("none", !there);
      tile.canvas.setAttribute(
        "aria-label",
        there ? `Maximizing image of ${layer}:${found[0]}` : `${layer}:${found[0]}, its image is not made yet`,
      );
    });
    this.root.dataset.shown = neuron ? `${layer} ${neuron.row},${neuron.column}` : "";
    if (failure) return;
    if (!neuron) say(this.note, "Move over the picture or a map: which units answer there? A click stays.");
    else {
      const how = store.locked ? "Esc lets go" : "a click stays, and makes their images";
      say(this.note, `row ${neuron.row}, column ${neuron.column} of ${layer}: strongest first; ${how}`);
    }
  }
}

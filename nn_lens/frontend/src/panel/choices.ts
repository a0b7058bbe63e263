/** What the lists of layers and units offer: the tree of modules, and units by number or by name. */
import type { Choice, Offer } from "../finding/combo";
import { counted, type Row, Tree } from "../finding/tree";
import type { Store } from "./store";
import { cut, phrase } from "./words";

/** Letters of a layer's name that are shown while the list is closed, and of a shape in a line. */
const SHOWN = 34;
/** Networks of more layers than this open with their modules folded. */
const UNFOLDED = 80;

/** A layer as it is named while its list is closed. */
export function layerText({ layer }: Store): [pieces: string[], title: string] {
  const { name, kind, shape, parameters } = layer;
  const title = phrase("layer.title", {
    name,
    kind,
    shape: shape.join("×"),
    parameters: parameters.toLocaleString("en"),
  });
  return [[cut(name, SHOWN), kind, shape.join("×")], title];
}

/** The layers of a network as lines of the tree of its modules. */
export class Layers implements Offer {
  private readonly tree: Tree;
  private readonly folded: Set<string>;

  constructor(private readonly store: Store) {
    this.tree = new Tree(store.network.layers);
    this.folded = new Set(store.network.layers.length > UNFOLDED ? this.tree.groups : []);
  }

  choices(question: string): Choice[] {
    for (const path of this.tree.above(this.store.layer.name)) this.folded.delete(path);
    return this.tree.rows(this.folded, question).map((row) => this.line(row, question !== ""));
  }

  choose(key: string): void {
    this.store.sight.select(key, this.store.selection.channel);
  }

  fold(key: string): void {
    if (!this.folded.delete(key)) this.folded.add(key);
  }

  private line({ path, label, depth, leaf, count, folded }: Row, found: boolean): Choice {
    const parameters = leaf?.parameters ? ` · ${counted(leaf.parameters)}` : "";
    const inside = count ? (leaf ? " · " : "") + phrase("layer.inside", { count }) : "";
    const detail = `${leaf ? `${leaf.kind} · ${leaf.shape.join("×")}${parameters}` : ""}${inside}`;
    const title = leaf ? `${path}, ${detail}` : phrase("layer.group", { path, count });
    return { key: path, label, detail, title, depth, folded: count && !found ? folded : null, chooses: leaf !== null };
  }
}

/** The units of the present layer, in the order in which they are gone through. */
export class Units implements Offer {
  constructor(private readonly store: Store) {}

  choices(question: string): Choice[] {
    const { store } = this;
    const { name } = store.layer;
    const words = question.toLowerCase().split(/\s+/).filter(Boolean);
    return store.order
      .all()
      .map((channel) => ({
        key: String(channel),
        label: store.nameOf(name, channel),
        detail: store.order.strength(channel),
      }))
      .filter(({ label }) => words.every((word) => label.toLowerCase().includes(word)));
  }

  choose(key: string): void {
    this.store.sight.select(this.store.layer.name, Number(key));
  }
}

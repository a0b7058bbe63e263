/** The lines of the list: networks, and below each the tree of its layers. */
import { type Row, Tree } from "../../finding/tree";
import type { Net } from "../asking";

/** A network, or where `row` is given a line of its tree. */
export interface Line {
  net: Net;
  row: Row | null;
}

/** Networks of more layers than this begin with their modules folded. */
const UNFOLDED = 80;

/** The trees of a kernel's networks, and what is folded in them. */
export class Rows {
  lines: Line[] = [];
  private nets: readonly Net[] = [];
  private readonly trees = new Map<Net, Tree>();
  /** By network's name: whether it is unfolded, and its folded modules. */
  private readonly open = new Map<string, boolean>();
  private readonly folded = new Map<string, Set<string>>();
  private question = "";

  /** Takes the networks of an answer; what was folded stays so. */
  take(nets: readonly Net[]): void {
    if (nets !== this.nets) {
      this.nets = nets;
      this.trees.clear();
    }
    this.fill();
  }

  search(question: string): void {
    this.question = question;
    this.fill();
  }

  isOpen({ name }: Net): boolean {
    return this.open.get(name) ?? this.nets[0]?.name === name;
  }

  fold({ net, row }: Line): void {
    if (!row) this.open.set(net.name, !this.isOpen(net));
    else if (row.count) {
      const folded = this.foldedOf(net);
      if (!folded.delete(row.path)) folded.add(row.path);
    }
    this.fill();
  }

  /** Unfolds what holds a layer, and gives the line that it is on; -1 where there is none. */
  reveal(of: Net, path: string): number {
    const tree = this.tree(of);
    for (const each of tree.above(path)) this.foldedOf(of).delete(each);
    this.fill();
    return this.lines.findIndex(({ net, row }) => net === of && row?.path === path);
  }

  private fill(): void {
    this.lines = this.nets.flatMap((net) => this.under(net));
  }

  private under(net: Net): Line[] {
    const head = { net, row: null };
    if (!this.question) return this.isOpen(net) ? [head, ...this.rowsOf(net)] : [head];
    const found = this.rowsOf(net);
    const own = `${net.name} ${net.of}`.toLowerCase().includes(this.question.toLowerCase());
    return found.length || own ? [head, ...found] : [];
  }

  private rowsOf(net: Net): Line[] {
    return this.tree(net)
      .rows(this.foldedOf(net), this.question)
      .map((row) => ({ net, row }));
  }

  private tree(net: Net): Tree {
    const known = this.trees.get(net);
    if (known) return known;
    const tree = new Tree(net.layers.map(([name, kind, shape, parameters]) => ({ name, kind, shape, parameters })));
    this.trees.set(net, tree);
    return tree;
  }

  private foldedOf(net: Net): Set<string> {
    const known = this.folded.get(net.name);
    if (known) return known;
    const folded = new Set(net.layers.length > UNFOLDED ? this.tree(net).groups : []);
    this.folded.set(net.name, folded);
    return folded;
  }
}

/**
 * The layers of a network as the tree of its modules, and a search through it. Knows no panel and no page: the panel's
 * list of layers and JupyterLab's side panel both read their rows here.
 */

/** What is to be known of a layer to find it. */
export interface Leaf {
  name: string;
  kind: string;
  shape: number[];
  parameters?: number;
}

/** A line of the tree: a layer, a module that holds some, or both. */
export interface Row {
  /** Dotted name of the module. */
  path: string;
  /** What it is called inside of the module that holds it. */
  label: string;
  depth: number;
  /** The layer of this name, null where the module itself cannot be shown. */
  leaf: Leaf | null;
  /** How many layers it holds, 0 for none. */
  count: number;
  folded: boolean;
}

interface Node {
  path: string;
  label: string;
  depth: number;
  leaf: Leaf | null;
  children: Node[];
}

export class Tree {
  private readonly roots: Node[] = [];
  private readonly nodes = new Map<string, Node>();

  /** `leaves` in the order in which they are to stand. */
  constructor(leaves: Leaf[]) {
    for (const leaf of leaves) this.node(leaf.name).leaf = leaf;
  }

  /** The modules that hold a layer, from the outermost on. */
  above(path: string): string[] {
    const parts = path.split(".");
    return parts.slice(0, -1).map((_, i) => parts.slice(0, i + 1).join("."));
  }

  /** All modules that hold layers. */
  get groups(): string[] {
    return [...this.nodes.values()].filter(({ children }) => children.length).map(({ path }) => path);
  }

  /**
   * The lines to be shown: all but what lies in folded modules; with a question, the layers that answer it and what holds
   * them.
   */
  rows(folded: ReadonlySet<string>, question = ""): Row[] {
    const words = question.toLowerCase().split(/\s+/).filter(Boolean);
    return this.roots.flatMap((node) => this.under(node, folded, words));
  }

  private node(path: string): Node {
    const known = this.nodes.get(path);
    if (known) return known;
    const end = path.lastIndexOf(".");
    const parent = end < 0 ? null : this.node(path.slice(0, end));
    const node = {
      path,
      label: path.slice(end + 1),
      depth: parent ? parent.depth + 1 : 0,
      leaf: null,
      children: [],
    };
    this.nodes.set(path, node);
    (parent?.children ?? this.roots).push(node);
    return node;
  }

  private under(node: Node, folded: ReadonlySet<string>, words: string[]): Row[] {
    const { path, label, depth, leaf, children } = node;
    const own = words.length > 0 && leaf !== null && answers(leaf, words);
    const is = words.length === 0 && folded.has(path);
    const inside = is ? [] : children.flatMap((child) => this.under(child, folded, words));
    if (words.length && !own && !inside.length) return [];
    const row = { path, label, depth, leaf, count: layersIn(node), folded: is && children.length > 0 };
    return [row, ...inside];
  }
}

/** Whether each word of a question is in a layer's name, kind or shape. */
export function answers({ name, kind, shape }: Leaf, words: string[]): boolean {
  const text = `${name} ${kind} ${shape.join("×")} ${shape.join("x")}`.toLowerCase();
  return words.every((word) => text.includes(word));
}

function layersIn({ children }: Node): number {
  return children.reduce((sum, child) => sum + (child.leaf ? 1 : 0) + layersIn(child), 0);
}

/** A number of parameters as people read it: 1,234 or 1.2 million. */
export function counted(parameters: number): string {
  if (parameters >= 1e6) return `${(parameters / 1e6).toPrecision(parameters >= 1e8 ? 3 : 2)} M`;
  return parameters >= 1e4 ? `${Math.round(parameters / 1e3)} k` : parameters.toLocaleString("en");
}

/**
 * What a panel can ask, from the table that Python reads too (nn_lens/widgets/questions.json). A question's fields follow
 * from the words that say what it is about, and its key from its fields: two questions are the same if those are.
 */
import table from "../../../widgets/questions.json";
import type strings from "../../../widgets/strings.json";
import type { Neuron } from "./geometry";
import type { Layer } from "./protocol";

export type What = keyof typeof table.kinds;
export type ViewName = keyof typeof table.views;
export type Tab = keyof typeof strings.tabs;
type Word = "picture" | "layer" | "part" | "page" | "ranked" | "unit" | "neuron" | "target" | "factor" | "where";

export interface Kind {
  about: Word[];
  when: "at once" | "at rest" | "at a place" | "at a locked place" | "on demand";
  /** The kind whose stored answers serve this one in an exported page. */
  stored?: What;
  /** The next is asked when the last has ended, so that a storm of events does not become one of messages. */
  quick?: boolean;
  /** Its unfinished answers come as frames, each acknowledged. */
  paced?: boolean;
  /** Its answers do not depend on the weights. */
  lasting?: boolean;
  /** Of all answers to a question, those that make up the whole. */
  replies?: "last" | "all";
  views: ViewName[];
}

export const KINDS = table.kinds as Record<What, Kind>;
export const WHATS = Object.keys(KINDS) as What[];
export const TABS = table.tabs as Tab[];
export const VIEWS = table.views as Record<ViewName, { tabs: Tab[]; once?: boolean; beside?: boolean }>;

export type Fields = Record<string, unknown>;

/** What is looked at, as far as questions are about it. */
export interface Subject {
  picture: string | null;
  layer: Layer;
  channel: number;
  /** The layer's units as they follow one another; null: by number. */
  order?: number[] | null;
  /** Where a place is locked, its neuron. */
  neuron: Neuron | null;
  /** The rank of a class, null for the selected unit. */
  target: number | null;
  /** The class that it is compared with: its rank, or "#7" for the class of that index. */
  rather?: number | string | null;
  factor: number;
  /** Whether the unit is steered at the locked place only. */
  here?: boolean;
  /** The units that are strongest at a locked place and whose maximizing images are not here. */
  unseen: () => number[];
}

/** The first unit and the number of units of the part that a layer's tiles are sent in, with the channel in it. */
function part(what: What, { layer, channel }: Subject): Fields {
  const shape = what === "maps" ? layer.grid : (layer.filter ?? [1]);
  const each = shape.reduce((product, side) => product * side, 1);
  const most = Math.max(1, Math.floor(table.part_bytes / Math.max(1, each)));
  const start = Math.floor(channel / most) * most;
  return { start, count: Math.min(most, layer.channels - start) };
}

/** The channels of the page of maximizing images that holds a channel; `order`: as the layer's units follow one another. */
export function pageOf(layer: Layer, channel: number, order: number[] | null = null): number[] {
  const at = order ? Math.max(0, order.indexOf(channel)) : channel;
  const start = Math.floor(at / table.page_units) * table.page_units;
  const count = Math.min(table.page_units, layer.channels - start);
  return order ? order.slice(start, start + count) : Array.from({ length: count }, (_, i) => start + i);
}

/** Which page of how many holds a place in a layer's order, counted from 0. */
export function pageNumber(layer: Layer, at: number): [page: number, pages: number] {
  return [Math.floor(at / table.page_units), Math.ceil(layer.channels / table.page_units)];
}

/** The place in a layer's order with which a page begins. */
export function pageStart(page: number): number {
  return page * table.page_units;
}

/** What each word gives a question, null where there is nothing to ask about. */
const GIVES: Record<Word, (what: What, subject: Subject) => Fields | null> = {
  picture: (_, { picture }) => (picture === null ? null : { picture }),
  layer: (_, { layer }) => ({ layer: layer.name }),
  part,
  page: (_, { layer, channel, order }) => ({ channels: pageOf(layer, channel, order) }),
  ranked: (_, { unseen }) => {
    const channels = unseen();
    return channels.length ? { channels } : null;
  },
  unit: (_, { layer, channel }) => ({ layer: layer.name, channel }),
  neuron: (_, { layer, channel, neuron }) => neuron && { layer: layer.name, channel, ...neuron },
  target: (_, { target, rather = null, layer, channel }) => {
    if (target === null) return { target: `${layer.name}:${channel}` };
    return { target: rather === null ? target : [target, rather] };
  },
  factor: (_, { factor }) => ({ factor }),
  where: (_, { here = false, neuron }) => ({ where: here && neuron ? [neuron.row, neuron.column] : null }),
};

/** The names of the fields that each word gives. */
const NAMES = {
  picture: ["picture"],
  layer: ["layer"],
  part: ["start", "count"],
  page: ["channels"],
  ranked: ["channels"],
  unit: ["layer", "channel"],
  neuron: ["layer", "channel", "row", "column"],
  target: ["target"],
  factor: ["factor"],
  where: ["where"],
} as const satisfies Record<Word, readonly string[]>;

/** What a question of a kind asks for, null where there is nothing to ask about. */
export function fieldsOf(what: What, subject: Subject): Fields | null {
  const fields: Fields = {};
  for (const word of KINDS[what].about) {
    const given = GIVES[word](what, subject);
    if (!given) return null;
    Object.assign(fields, given);
  }
  return fields;
}

/** Names a question, from its fields or from a message that has them among others. */
export function keyOf(what: What, fields: Fields): string {
  return JSON.stringify(KINDS[what].about.flatMap((word) => NAMES[word].map((name) => fields[name])));
}

export function isKind(type: string): type is What {
  return type in KINDS;
}

/** Whether a kind is about the picture, so that without one there is nothing to ask. */
export function ofPicture(what: What): boolean {
  return KINDS[what].about.includes("picture");
}

/** The tab that a panel with these views opens at: the first that shows them all. */
export function homeOf(views: ViewName[]): Tab {
  return TABS.find((tab) => views.every((view) => VIEWS[view].tabs.includes(tab))) ?? "all";
}

/** Which of a panel's views are shown while `now` is chosen, a tab or a view's own name. */
export function shownAt(now: string, views: ViewName[]): ViewName[] {
  const shown = views.filter((view) => view === now || VIEWS[view].tabs.includes(now as Tab));
  return shown.length ? shown : views;
}

/** Whether a tab is there for a view's sake: the view's own, or the only one that it is shown in. */
export function isOwn(view: ViewName, tab: Tab): boolean {
  return (view as string) === tab || VIEWS[view].tabs.every((each) => each === tab);
}

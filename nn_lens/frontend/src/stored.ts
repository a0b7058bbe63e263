/** The views on stored answers: what `Lens.to_html` writes. It takes the place of the widget's model and of the kernel. */
import type { AnyModel } from "@anywidget/types";
import { Follower } from "./shared/follower";
import { Store } from "./shared/store";
import { Panel } from "./views/panel";

interface Question {
  what: string;
  layer?: string;
  channel?: number;
  channels?: number[];
  [name: string]: unknown;
}

interface Answer {
  question: Question;
  error?: string;
  messages?: { head: Record<string, unknown>; buffers: string[] }[];
}

type Listener = (...args: unknown[]) => void;

const ABSENT = "This is not in the exported file. In the notebook, the panel makes it when you ask.";

interface Data {
  traits: Record<string, unknown>;
  answers: Answer[];
  /** That of the network that is compared. */
  beside?: Data;
}

/** Draws an exported panel into an element. */
export function stored(root: HTMLElement, data: Data): void {
  const model = ({ traits, answers }: Data) => new Recorded(traits, answers) as unknown as AnyModel;
  const store = new Store(model(data));
  new Panel(store, data.beside ? new Follower(model(data.beside), store) : null, root);
}

class Recorded {
  private readonly listeners = new Map<string, Set<Listener>>();
  private readonly traits: Record<string, unknown>;

  constructor(
    traits: Record<string, unknown>,
    private readonly answers: Answer[],
  ) {
    this.traits = decoded(traits) as Record<string, unknown>;
  }

  get(name: string): unknown {
    return this.traits[name];
  }

  set(name: string, value: unknown): void {
    this.traits[name] = value;
  }

  save_changes(): void {}

  on(event: string, call: Listener): void {
    this.listeners.set(event, (this.listeners.get(event) ?? new Set()).add(call));
  }

  off(event: string, call: Listener): void {
    this.listeners.get(event)?.delete(call);
  }

  send(content: { type: string; id?: number } & Record<string, unknown>): void {
    if (content.type === "want") setTimeout(() => this.answer(content as unknown as Question & { id: number }));
    else if (content.type !== "ack" && content.type !== "stop")
      this.tell({ type: "error", what: content.type, text: ABSENT }, []);
  }

  private answer({ id, type: _, ...question }: Question & { id: number }): void {
    const found = this.answers.filter((answer) => fits(answer, question));
    const error = found.length ? found.find((answer) => answer.error)?.error : ABSENT;
    if (error) return this.tell({ type: "error", id, what: question.what, text: error }, []);
    for (const { head, buffers } of found.flatMap((answer) => answer.messages ?? []))
      this.tell({ ...head, id }, buffers.map(view));
    this.tell({ type: "done", id, what: question.what }, []);
  }

  private tell(content: object, buffers: DataView[]): void {
    for (const call of this.listeners.get("msg:custom") ?? []) call(content, buffers);
  }
}

/** Whether a stored answer is one to a question: the same, a part of the layer that holds the unit, or pages that do. */
function fits(answer: Answer, question: Omit<Question, "id">): boolean {
  const asked = answer.question;
  if (question.what === "here")
    return asked.what === "page" && asked.layer === question.layer && meet(asked.channels, question.channels);
  if (asked.what !== question.what) return false;
  if (question.what === "maps" || question.what === "filters") {
    const head = answer.messages?.[0]?.head as { start: number; count: number } | undefined;
    const channel = question.channel as number;
    return asked.layer === question.layer && (!head || (channel >= head.start && channel < head.start + head.count));
  }
  return Object.keys(question).every((name) => JSON.stringify(asked[name]) === JSON.stringify(question[name]));
}

function meet(a: number[] | undefined, b: unknown): boolean {
  return Boolean(a?.some((channel) => (b as number[]).includes(channel)));
}

function view(text: string): DataView {
  return new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
}

/** Values with {bytes: text} in place of their binary parts. */
function decoded(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(decoded);
  if (value === null || typeof value !== "object") return value;
  if ("bytes" in value && typeof value.bytes === "string") return view(value.bytes);
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, decoded(part)]));
}

/** The views on stored answers: what `Lens.to_html` writes. It takes the place of the widget's model and of the kernel. */
import type { AnyModel } from "@anywidget/types";
import { Panel } from "./panel/panel";
import { type Fields, isKind, KINDS, keyOf, type What } from "./panel/questions";
import { Store } from "./panel/store";
import { phrase } from "./panel/words";
import { DECODERS } from "./views";

interface Answer {
  question: { what: string } & Fields;
  error?: string;
  messages?: { head: Record<string, unknown>; buffers: string[] }[];
}

interface Data {
  traits: Record<string, unknown>;
  answers: Answer[];
  /** That of the network that is compared. */
  compared?: Data;
}

type Listener = (...args: unknown[]) => void;

const ABSENT = phrase("export.absent");

/** Draws an exported panel into an element. */
export function stored(root: HTMLElement, data: Data): void {
  const model = ({ traits, answers }: Data) => new StoredModel(traits, answers) as unknown as AnyModel;
  const store = new Store(model(data), DECODERS);
  new Panel(store, data.compared ? new Store(model(data.compared), DECODERS, store) : null, root);
}

/** A widget's model without a kernel, as far as the store uses one. */
export class StoredModel {
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

  send(content: { type: string; id?: number; what?: string } & Fields): void {
    const { type, what = "" } = content;
    if (type === "want" && isKind(what)) setTimeout(() => this.answer(what, content));
    else if (type !== "ack" && type !== "stop") this.tell({ type: "error", what: type, text: ABSENT }, []);
  }

  private answer(what: What, asked: { id?: number } & Fields): void {
    const { id } = asked;
    const answers = this.answers.filter(({ question }) => fits(question, what, asked));
    const error = answers.length ? answers.find((answer) => answer.error)?.error : ABSENT;
    if (error) {
      this.tell({ type: "error", id, what, text: error }, []);
      return;
    }
    for (const { head, buffers } of answers.flatMap(({ messages = [] }) => messages))
      this.tell({ ...head, id }, buffers.map(view));
    this.tell({ type: "done", id, what }, []);
  }

  private tell(content: object, buffers: DataView[]): void {
    for (const call of this.listeners.get("msg:custom") ?? []) call(content, buffers);
  }
}

/** Whether a stored question is the one that is asked; of some kinds, whether it is about some of the same units. */
function fits(question: Answer["question"], what: What, asked: Fields): boolean {
  const { stored: instead } = KINDS[what];
  if (!instead) return question.what === what && keyOf(what, question) === keyOf(what, asked);
  const channels = new Set(asked.channels as number[]);
  return (
    question.what === instead &&
    question.layer === asked.layer &&
    (question.channels as number[]).some((channel) => channels.has(channel))
  );
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

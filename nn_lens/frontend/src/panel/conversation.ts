/**
 * The browser's half of the conversation with the kernel: every question has an id, and ends in "done", "cancelled" or
 * "error" under it. One question of a kind is open at a time. What is asked and what is kept, the store says.
 */
import type { AnyModel } from "@anywidget/types";
import type { Message } from "./protocol";
import type { Fields, What } from "./questions";

/** Milliseconds after which a question counts as lost, and until one is asked again whose answer was of no use. */
const [LOST, AGAIN] = [2000, 500];
/** How a question ends. */
const ENDS = { done: true, cancelled: true, error: true };

/** A question without an end yet: what it is about, the weights that it was asked for, when, and how far its answer is. */
export interface Open {
  what: What;
  id: number;
  key: string;
  weights: number;
  at: number;
  step: number;
}

export interface Hears {
  /** A part of the answer to a question. */
  answered(open: Open, message: Message, buffers: DataView[]): void;
  /** A question was answered to the end, or given up. */
  ended(open: Open, message: Message): void;
  /** What the kernel says without being asked: why something was refused, or that an answer is coming. */
  told(message: Message): void;
}

export class Conversation {
  /** Whether the kernel has ever answered. */
  answeredEver = false;
  /** Whether the kernel no longer takes messages. */
  lost = false;
  private readonly open = new Map<What, Open>();
  private readonly failures = new Map<What, Map<string, string>>();
  /** When a kind was last answered for weights that are not shown. */
  private readonly useless = new Map<What, number>();
  private ids = 0;
  private readonly off: () => void;

  constructor(
    private readonly model: AnyModel,
    private readonly hears: Hears,
  ) {
    const receive = (message: unknown, buffers: unknown) => this.receive(message as Message, buffers as DataView[]);
    model.on("msg:custom", receive);
    this.off = () => model.off("msg:custom", receive);
  }

  close(): void {
    this.off();
  }

  /** Whether something that was asked for is on its way. */
  get busy(): boolean {
    return this.open.size > 0;
  }

  /** The open question of a kind. */
  opened(what: What): Open | undefined {
    return this.open.get(what);
  }

  /** Steps done of what is being made, null when nothing is. */
  running(what: What): number | null {
    return this.open.get(what)?.step ?? null;
  }

  asked(what: What, key: string, weights: number): boolean {
    const open = this.open.get(what);
    return open?.key === key && open.weights === weights;
  }

  /** Asks, unless that was asked, has failed, or has to wait; whether it did. `quick`: not before the last has ended. */
  ask(what: What, fields: Fields, key: string, weights: number, quick: boolean): boolean {
    if (this.asked(what, key, weights) || this.failure(what, key, weights)) return false;
    const at = performance.now();
    if (at - (this.useless.get(what) ?? Number.NEGATIVE_INFINITY) < AGAIN) return false;
    const last = this.open.get(what);
    if (quick && last && at - last.at < LOST) return false;
    const id = ++this.ids;
    this.open.set(what, { what, id, key, weights, at, step: 0 });
    this.send({ type: "want", id, what, ...fields });
    return true;
  }

  /** An answer to a question that was not asked will come under an id of the kernel's own. */
  expect(what: What, key: string, id: number, weights: number): void {
    this.open.set(what, { what, id, key, weights, at: performance.now(), step: 0 });
  }

  /** Gives up the open question of a kind. */
  stop(what: What): void {
    this.send({ type: "stop", what });
    this.open.delete(what);
  }

  /** The answer that came was for weights that are not shown: milliseconds after which it is to be asked again. */
  wasUseless(what: What): number {
    this.useless.set(what, performance.now());
    return AGAIN;
  }

  /** Why a question was not answered, "" if it was or may yet be. */
  failure(what: What, key: string, weights: number): string {
    return this.failures.get(what)?.get(`${weights} ${key}`) ?? "";
  }

  /** What failed is tried again by coming back to it: only failures of the present questions are remembered. */
  forgive(present: (what: What) => string | null, weights: number): void {
    for (const [what, failures] of this.failures) {
      const now = `${weights} ${present(what)}`;
      for (const question of failures.keys()) if (question !== now) failures.delete(question);
    }
  }

  send(content: object, buffers?: ArrayBuffer[]): void {
    try {
      this.model.send(content, undefined, buffers);
      this.lost = false;
    } catch {
      this.lost = true;
      this.open.clear(); // nothing of it will come
    }
  }

  private receive(message: Message, buffers: DataView[]): void {
    this.answeredEver = true;
    const open = [...this.open.values()].find(({ id }) => id === message.id);
    const { type } = message;
    // An error under an id is of a question; where it is not open any more, another has taken its place.
    if (type === "expect" || (type === "error" && !open && message.id == null)) this.hears.told(message);
    else if (open && type in ENDS) this.end(open, message);
    else if (open) {
      if (typeof message.step === "number") open.step = message.step;
      this.hears.answered(open, message, buffers);
    }
  }

  private end(open: Open, message: Message): void {
    this.open.delete(open.what);
    if (message.type === "error") this.fail(open, String(message.text));
    this.hears.ended(open, message);
  }

  private fail({ what, key, weights }: Open, text: string): void {
    const failures = this.failures.get(what) ?? new Map<string, string>();
    this.failures.set(what, failures.set(`${weights} ${key}`, text));
  }
}

/**
 * What the views that are shown miss is asked for, once per frame: some at once, some when the selection has rested, some
 * on demand. The table of questions says which.
 */
import type { Conversation } from "./conversation";
import type { Look } from "./look";
import type { Moments } from "./moments";
import { type Fields, fieldsOf, KINDS, keyOf, type Subject, type ViewName, WHATS, type What } from "./questions";

/** How long a selection has to stay before what takes time is asked for, in milliseconds. */
const REST = 60;

/** What is to be known of a panel to ask for what it misses. */
export interface Panel {
  readonly look: Look;
  readonly moments: Moments;
  readonly conversation: Conversation;
  subject(): Subject;
  shows(view: ViewName): boolean;
  changed(): void;
}

interface Missing {
  what: What;
  fields: Fields;
  key: string;
}

export class Asking {
  /** By kind, the question that was asked for on demand, and the one that was stopped. */
  private readonly demanded = new Map<What, string>();
  private readonly stopped = new Map<What, string>();
  private movedAt = 0;
  private timer = 0;

  constructor(private readonly panel: Panel) {}

  close(): void {
    clearTimeout(this.timer);
  }

  /** Names what the panel's subject asks of a kind, null where it asks nothing. */
  key(what: What): string | null {
    const fields = fieldsOf(what, this.panel.subject());
    return fields && keyOf(what, fields);
  }

  /** Asks for what is missing. */
  ask(): void {
    const { conversation, moments } = this.panel;
    clearTimeout(this.timer);
    const wait = this.movedAt + REST - performance.now();
    for (const { what, fields, key } of this.missing()) {
      const { when, quick = false, replies } = KINDS[what];
      if (when === "at rest" && wait > 0) {
        clearTimeout(this.timer);
        this.timer = window.setTimeout(() => this.rested(), wait);
        continue;
      }
      const asked = conversation.ask(what, fields, key, moments.weights, quick);
      // Of a list, what an earlier question has brought would come twice.
      if (asked && replies === "all") moments.of(what).forget(what, key);
    }
  }

  /** Asks at once rather than with the next frame, which is drawn after it. */
  private rested(): void {
    this.ask();
    this.panel.changed();
  }

  /** The subject is another: what is no longer of use is let go of. */
  moved(): void {
    const { conversation, moments } = this.panel;
    conversation.forgive((what) => this.key(what), moments.weights);
    for (const what of WHATS) {
      if (!this.stopped.has(what) && !(KINDS[what].paced && conversation.opened(what))) continue;
      const key = this.key(what);
      if (this.stopped.get(what) !== key) this.stopped.delete(what);
      // The slider has left the page whose images are being made.
      if (!conversation.asked(what, key ?? "", moments.weights)) conversation.stop(what);
    }
    if (this.missing().some(({ what }) => KINDS[what].when === "at rest")) this.movedAt = performance.now();
  }

  /** Asks for what is only made on demand. */
  demand(what: What): void {
    this.demanded.set(what, this.key(what) ?? "");
    this.panel.changed();
  }

  isStopped(what: What): boolean {
    return this.stopped.has(what);
  }

  /** Ends the work on the present question of a kind, which is not asked again until `goOn`. */
  stop(what: What): void {
    this.stopped.set(what, this.key(what) ?? "");
    this.panel.conversation.stop(what);
    this.panel.changed();
  }

  goOn(what: What): void {
    this.stopped.delete(what);
    this.panel.changed();
  }

  /** Questions that the views shown have, and no answer to. */
  private missing(): Missing[] {
    const { look, moments } = this.panel;
    const subject = this.panel.subject();
    return WHATS.flatMap((what) => {
      const { when, views } = KINDS[what];
      if (!views.some((view) => this.panel.shows(view))) return [];
      if ((when === "at a place" && !look.place) || (when === "at a locked place" && !look.locked)) return [];
      const fields = fieldsOf(what, subject);
      if (!fields) return [];
      const key = keyOf(what, fields);
      if (when === "on demand" && this.demanded.get(what) !== key) return [];
      if (this.stopped.get(what) === key || moments.of(what).isComplete(what, key)) return [];
      return [{ what, fields, key }];
    });
  }
}

/** One inspector for each kernel: asks it once after each cell while somebody looks, and keeps the last answer. */
import type { Kernel, KernelMessage } from "@jupyterlab/services";
import { Signal } from "@lumino/signaling";
import { Asking, type Seen } from "../asking";

/** Milliseconds that a kernel has to be idle before it is asked. */
const REST = 250;
/** Between these a kernel goes to and fro while it works, which changes nothing of what is known. */
const STEADY: ReadonlySet<string> = new Set(["idle", "busy"]);

export class Inspector {
  readonly changed = new Signal<this, null>(this);
  /** The last answer, null where there is none yet. */
  seen: Seen | null = null;
  /** The number of the last cell that the answer knows of, null where none has run. */
  cell: number | null = null;
  /** Whether the kernel did not answer. */
  failed = false;
  /** The language of the kernel, "" while it is not known. */
  language = "";
  private last: number | null = null;
  /** The request whose cell runs, "" while none does: a kernel is also busy with what a slider sends. */
  private running = "";
  private fresh = false;
  private asking = false;
  private eyes = 0;
  private timer = 0;
  /** Grows with each start of the kernel: an answer of an earlier one is dropped. */
  private life = 0;

  constructor(private readonly kernel: Kernel.IKernelConnection) {
    kernel.statusChanged.connect(this.status, this);
    kernel.iopubMessage.connect(this.heard, this);
    this.learn();
  }

  close(): void {
    clearTimeout(this.timer);
    Signal.clearData(this);
  }

  /** Whether a cell runs, so that the answer may be of an earlier one. */
  get busy(): boolean {
    return this.running !== "" || (!this.seen && !this.asking && this.kernel.status === "busy");
  }

  /** Begins or ends looking. */
  watch(is: boolean): void {
    this.eyes += is ? 1 : -1;
    this.later();
  }

  /** Asks again, whatever is known. */
  again(): void {
    this.fresh = this.failed = false;
    this.later();
  }

  private learn(): void {
    const { life } = this;
    this.kernel.info
      .then(({ language_info: info }) => {
        if (life !== this.life) return;
        this.language = info.name;
        this.changed.emit(null);
        this.later();
      })
      .catch(() => {}); // the kernel went meanwhile
  }

  private status(_: unknown, status: Kernel.Status): void {
    if (status === "restarting" || status === "autorestarting" || status === "dead") this.forget();
    if (status === "starting" || (status === "idle" && !this.language)) this.learn();
    if (status === "idle") this.later();
    if (!this.seen || !STEADY.has(status)) this.changed.emit(null);
  }

  /** A cell begins, of whichever document: what is known will be of the past. A silent request is not told of. */
  private heard(_: unknown, { header, parent_header: parent, content }: KernelMessage.IIOPubMessage): void {
    const of = "msg_id" in parent ? parent.msg_id : "";
    const ends = header.msg_type === "status" && (content as { execution_state: string }).execution_state === "idle";
    if (header.msg_type === "execute_input") {
      this.last = (content as { execution_count: number }).execution_count;
      this.fresh = this.failed = false;
      this.running = of;
    } else if (ends && of && of === this.running) this.running = "";
    else return;
    this.changed.emit(null);
    this.later();
  }

  private forget(): void {
    this.life++;
    this.seen = this.cell = this.last = null;
    this.fresh = this.failed = false;
    this.language = this.running = "";
  }

  private later(): void {
    clearTimeout(this.timer);
    if (this.eyes > 0 && !this.fresh && !this.failed) this.timer = window.setTimeout(() => void this.ask(), REST);
  }

  private async ask(): Promise<void> {
    const { kernel, life } = this;
    // A kernel also calls itself idle while a cell runs, when it is done with what a slider sent beside it.
    const idle = kernel.status === "idle" && this.running === "";
    if (this.asking || this.fresh || kernel.isDisposed || !idle || this.language !== "python") return;
    this.asking = this.fresh = true;
    const cell = this.last;
    const seen = await new Asking(kernel).ask();
    this.asking = false;
    if (life !== this.life || kernel.isDisposed) return;
    this.failed = seen === null;
    if (seen) {
      this.seen = seen;
      this.cell = cell;
    }
    this.changed.emit(null);
    this.later();
  }
}

/** The inspectors, by kernel: two documents of one kernel share one. */
export class Inspectors {
  private readonly known = new Map<string, Inspector>();

  of(kernel: Kernel.IKernelConnection): Inspector {
    const known = this.known.get(kernel.id);
    if (known) return known;
    const made = new Inspector(kernel);
    this.known.set(kernel.id, made);
    kernel.disposed.connect(() => {
      made.close();
      this.known.delete(kernel.id);
    });
    return made;
  }
}

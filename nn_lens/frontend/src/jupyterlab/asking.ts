/**
 * The one question that a kernel is asked: which networks its names hold. It leaves nothing behind in the kernel: nothing is
 * imported unless torch is there, nothing is raised, since an error would take the place of the user's own last one, and no
 * name is used but `__import__`, since every other may be the user's.
 */
import type { Kernel, KernelMessage } from "@jupyterlab/services";
import question from "./question.json";

/** A layer as the kernel tells of it: name, class, shape of its weight, parameters. */
export type ToldLayer = [name: string, kind: string, shape: number[], parameters: number];

export interface Net {
  /** The variable, or an attribute of one. */
  name: string;
  kind: "module" | "network" | "session";
  /** The class of the module. */
  of: string;
  /** Which object of the kernel the module is. */
  model: string;
  parameters: number;
  device: string;
  training: boolean;
  layers: ToldLayer[];
}

/** What a kernel holds. `is`: "networks" if it could be looked at; "absent": it has no nn_lens; "idle": torch is not loaded. */
export interface Seen {
  is: "networks" | "absent" | "idle";
  nets: Net[];
  whole: boolean;
  alias: string;
}

/** Milliseconds after which a kernel counts as one that does not answer. */
const PATIENCE = 10_000;
const NOTHING = { nets: [], whole: true, alias: "" };

export class Asking {
  constructor(private readonly kernel: Kernel.IKernelConnection) {}

  /** Null where the kernel does not answer in time, or answers with an error. */
  async ask(): Promise<Seen | null> {
    const future = this.kernel.requestExecute({
      code: "",
      silent: true,
      store_history: false,
      user_expressions: question,
      allow_stdin: false,
      stop_on_error: false,
    });
    let timer = 0;
    const late = new Promise<null>((none) => {
      timer = window.setTimeout(() => none(null), PATIENCE);
    });
    try {
      const reply = await Promise.race([future.done, late]);
      return reply ? seenIn(reply.content as KernelMessage.IReplyOkContent & { user_expressions?: unknown }) : null;
    } catch {
      return null; // the kernel went meanwhile
    } finally {
      clearTimeout(timer);
      if (!future.isDisposed) future.dispose();
    }
  }
}

function seenIn({ user_expressions: expressions }: { user_expressions?: unknown }): Seen | null {
  const { seen } = (expressions ?? {}) as { seen?: { data?: Record<string, unknown> } };
  const content = seen?.data?.["application/json"] as Omit<Seen, "is"> | undefined;
  if (content) return { is: "networks", ...content };
  const text = String(seen?.data?.["text/plain"] ?? "");
  if (text.includes("absent")) return { is: "absent", ...NOTHING };
  return text.includes("idle") ? { is: "idle", ...NOTHING } : null;
}

/**
 * The weights in time: the model as it is, or a step of a training that was recorded. Answers are kept by the version of
 * the weights that they are of; those of recorded steps stay while there is room.
 */
import type { AnyModel } from "@anywidget/types";
import { Answers } from "./answers";
import type { Step } from "./protocol";
import { KINDS, type What } from "./questions";

/** Bytes of tiles and pictures kept in the browser; the longest unused go first. */
export const KEPT_BYTES = 192 << 20;

export class Moments {
  /** The version of the weights that are shown. */
  weights: number;
  private answers: Answers;
  /** Answers that do not depend on the weights. */
  private readonly lasting: Answers;
  /** By version; those that were used last stand last. */
  private readonly kept = new Map<number, Answers>();
  /** The version of the model as it is, while a recorded step is shown. */
  private now: number;
  private readonly offs: (() => void)[] = [];

  /** `arrived` is called when an answer has been decoded, `moved` when other weights are shown, `changed` when more steps are known. */
  constructor(
    private readonly model: AnyModel,
    private readonly arrived: () => void,
    private readonly moved: () => void,
    private readonly changed: () => void,
  ) {
    this.weights = this.now = model.get("_weights");
    this.lasting = new Answers(arrived);
    this.answers = this.answersOf(this.weights);
    const listen = (event: string, call: () => void) => {
      model.on(event, call);
      this.offs.push(() => model.off(event, call));
    };
    for (const trait of ["step", "_steps"] as const) listen(`change:${trait}`, () => this.follow());
    listen("change:_weights", () => {
      if (this.step === null) this.now = model.get("_weights");
      this.follow();
    });
  }

  close(): void {
    for (const off of this.offs) off();
    for (const answers of this.kept.values()) answers.close();
    this.lasting.close();
  }

  /** What was recorded in a training, from first to last. */
  get steps(): Step[] {
    return this.model.get("_steps");
  }

  /** The step that is shown, null for the model as it is. */
  get step(): number | null {
    return this.model.get("step");
  }

  set step(step: number | null) {
    this.model.set("step", step);
    this.model.save_changes();
    this.follow();
  }

  /** Where the answers of a kind are kept, undefined for weights whose answers are not; default: the weights shown. */
  of(what: What, version?: number): Answers;
  of(what: What, version: number): Answers | undefined;
  of(what: What, version = this.weights): Answers | undefined {
    if (KINDS[what].lasting) return this.lasting;
    return version === this.weights ? this.answers : this.kept.get(version);
  }

  /** An answer says that a cell has changed the model: what is shown is of older weights. */
  seen(version: number | undefined): void {
    if (version !== undefined && version > this.weights && this.step === null) this.show(version);
  }

  /** Shows the weights of the chosen step, or the model as it is. */
  private follow(): void {
    const { step } = this;
    const version = step === null ? this.now : this.steps.find((each) => each.step === step)?.weights;
    if (version !== undefined && version !== this.weights) this.show(version);
    this.changed();
  }

  /** Other weights are shown: of what was answered, only what was answered for them is true. */
  private show(version: number): void {
    this.weights = version;
    if (this.step === null) this.now = version;
    this.answers = this.answersOf(version);
    const recorded = new Set([this.now, ...this.steps.map(({ weights }) => weights)]);
    let size = 0;
    for (const each of this.kept.values()) size += each.size();
    for (const [old, each] of this.kept) {
      if (old === version || (recorded.has(old) && size <= KEPT_BYTES)) continue;
      size -= each.size();
      each.close();
      this.kept.delete(old);
    }
    this.moved();
  }

  private answersOf(version: number): Answers {
    const answers = this.kept.get(version) ?? new Answers(this.arrived);
    this.kept.delete(version);
    this.kept.set(version, answers);
    return answers;
  }
}

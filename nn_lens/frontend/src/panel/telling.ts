/** What a panel tells its host, and does when the host asks. */
import { type Asked, Host, type Work } from "./host";
import { KINDS, WHATS } from "./questions";
import type { Store } from "./store";
import { titleOf } from "./strings";

/** Milliseconds after which work is told of: most is over by then, and the slider is not to wait for what is told. */
const LATER = 400;

export class Telling {
  readonly host: Host;
  private unit = "";
  private told = "";
  private timer = 0;

  constructor(
    private readonly store: Store,
    root: HTMLElement,
  ) {
    const asked: Asked = {
      select: ({ unit }) => this.select(unit),
      picture: ({ file }) => void store.pictures.take(file),
      code: () => this.host.insert(store.code()),
      stop: () => this.stop(),
    };
    this.host = new Host(root, asked);
  }

  /** To be told of each draw. */
  drawn(): void {
    const { network, selection, conversation } = this.store;
    const unit = `${selection.layer}:${selection.channel}`;
    if (unit !== this.unit && this.host.isInPage) {
      this.unit = unit;
      this.host.selected(network.model, unit);
    }
    if (!this.timer && (conversation.busy || this.told)) this.timer = window.setTimeout(() => this.work(), LATER);
  }

  close(): void {
    clearTimeout(this.timer);
    this.host.close();
  }

  private work(): void {
    this.timer = 0;
    const work = workOf(this.store);
    const text = work.what ? JSON.stringify(work) : "";
    if (text !== this.told) this.host.working(work);
    this.told = text;
    if (work.what) this.timer = window.setTimeout(() => this.work(), LATER);
  }

  /** A layer's name may have any signs: what follows the last colon is the unit. */
  private select(unit: string): void {
    const at = unit.lastIndexOf(":");
    this.store.sight.select(unit.slice(0, at), Number.parseInt(unit.slice(at + 1), 10) || 0);
  }

  private stop(): void {
    const { asking, conversation } = this.store;
    for (const what of WHATS) if (conversation.opened(what)) asking.stop(what);
  }
}

function workOf(store: Store): Work {
  const { conversation } = store;
  const open = WHATS.filter((each) => conversation.opened(each));
  const what = open.find((each) => each === "page") ?? open[0];
  const view = what && KINDS[what].views[0];
  if (!view) return { what: "", share: null };
  const page = what === "page" ? store.answer("page") : undefined;
  return { what: titleOf(view), share: page?.steps ? Math.min(1, page.step / page.steps) : null };
}

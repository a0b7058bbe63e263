/** A drawn panel: the controls and the cards that its widget names. */
import styles from "panel.css";
import { el, say, text64 } from "../drawing/dom";
import { Enlarger } from "../drawing/enlarge";
import { keepKeys } from "../drawing/keys";
import { VIEW_CLASSES } from "../views";
import type { View } from "../views/view";
import { Asleep } from "./asleep";
import { Controls } from "./controls";
import type { Host } from "./host";
import { VIEWS, type ViewName } from "./questions";
import { Sticky } from "./sticky";
import type { Store } from "./store";
import { Telling } from "./telling";
import { isWide, phrase } from "./words";

export class Panel {
  private readonly controls: Controls;
  /** In the order in which they are drawn; of two networks one after the other. */
  private readonly views: { name: ViewName; store: Store; view: View }[];
  private readonly names: { store: Store; text: HTMLElement }[];
  private readonly asleep: Asleep;
  private readonly root: HTMLElement;
  /** What stands beside the cards of every tab; null where cards stand in one grid. */
  private readonly side: HTMLElement | null;
  private readonly sticky: Sticky;
  private readonly telling: Telling;
  private readonly enlarger: Enlarger;
  private readonly unsubscribe: (() => void)[];

  constructor(
    private readonly store: Store,
    peer: Store | null,
    el_: HTMLElement,
  ) {
    const stores = peer ? [store, peer] : [store];
    this.controls = new Controls(store, () => this.host);
    this.views = store.views.flatMap((name) =>
      stores
        .filter((of) => of === store || !VIEWS[name].once)
        .map((of) => ({ name, store: of, view: new VIEW_CLASSES[name](of) })),
    );
    this.asleep = new Asleep(
      store,
      () => this.root,
      (data) => this.host.picture(text64(data)),
    );
    this.names = peer ? stores.map((of) => ({ store: of, text: el("h2", { class: "name" }) })) : [];
    for (const { view, store: of } of this.views) view.root.classList.toggle("follower", of !== store);
    const kind: "compare" | "lens" | "single" = peer ? "compare" : store.views.length > 2 ? "lens" : "single";
    const beside = (is: boolean) =>
      this.views.filter(({ name }) => (VIEWS[name].beside ?? false) === is).map(({ view }) => view.root);
    this.side = kind === "lens" ? el("div", { class: "side" }, ...beside(true)) : null;
    const cards = this.side
      ? [this.side, el("div", { class: "main" }, ...beside(false))]
      : [...this.names.map(({ text }) => text), ...this.views.map(({ view }) => view.root)];
    this.root = el(
      "div",
      {
        class: `nn-lens ${kind}${isWide(store.network) ? " wide" : ""}`,
        role: "region",
        "aria-label": phrase("panel"),
      },
      el("style", {}, styles),
      this.asleep.root,
      this.controls.root,
      el("div", { class: "cards" }, ...cards),
    );
    this.root.tabIndex = -1;
    this.root.addEventListener("keydown", (event) => this.key(event));
    keepKeys(this.root);
    this.root.addEventListener("paste", (event) => {
      if (store.views.includes("picture")) store.pictures.takeFrom(event.clipboardData);
    });
    el_.append(this.root);
    this.telling = new Telling(store, this.root);
    this.enlarger = new Enlarger(this.root);
    this.sticky = new Sticky(this.root, this.controls.root, this.side);
    this.unsubscribe = stores.map((each) => each.subscribe(() => this.draw()));
  }

  private get host(): Host {
    return this.telling.host;
  }

  close(): void {
    for (const end of this.unsubscribe) end();
    this.telling.close();
    this.controls.close();
    this.asleep.close();
    this.sticky.close();
    this.enlarger.close();
    for (const { view } of this.views) view.close();
    this.root.remove();
  }

  private draw(): void {
    const { store } = this;
    this.controls.draw();
    for (const { store: of, text } of this.names)
      say(
        text,
        `${of.network.name} · ${of.layer.name} · ${of.layer.shape.join("×")}` +
          (of.moments.step === null ? "" : ` · ${phrase("controls.stepText", { step: of.moments.step })}`),
      );
    for (const { name, view } of this.views) {
      view.root.hidden = !store.shows(name);
      if (!view.root.hidden) view.draw();
    }
    const beside = this.side !== null && this.views.some(({ name, view }) => VIEWS[name].beside && !view.root.hidden);
    this.side?.toggleAttribute("hidden", !beside);
    this.root.classList.toggle("beside", beside);
    this.asleep.drawn();
    this.telling.drawn();
    this.enlarger.refresh();
    this.root.dataset.view = store.look.view;
    this.root.dataset.unit = `${store.selection.layer}:${store.selection.channel}`;
  }

  private key(event: KeyboardEvent): void {
    const { target } = event;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (target instanceof HTMLInputElement && target.type === "number") return;
    const slides =
      target instanceof HTMLSelectElement || (target instanceof HTMLInputElement && target.type === "range");
    if (!this.pressed(event, slides)) return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** Does what a key says; whether it says something. */
  private pressed(event: KeyboardEvent, slides: boolean): boolean {
    const { store } = this;
    const index = store.network.layers.indexOf(store.layer);
    const { contrast } = store.look.colourScale;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step && !slides) {
      const far = event.shiftKey ? store.look.across : 1;
      store.sight.select(store.layer.name, store.order.neighbour(step * far));
    } else if (event.key === "[") store.sight.selectLayer(index - 1);
    else if (event.key === "]") store.sight.selectLayer(index + 1);
    else if (event.key === "+" || event.key === "=") store.setScale({ contrast: contrast * 1.25 });
    else if (event.key === "-") store.setScale({ contrast: contrast / 1.25 });
    else if (event.key === "h") this.controls.showHelp();
    else if (event.key === "Escape") {
      if (!this.controls.shut()) store.look.unlock();
    } else return false;
    return true;
  }
}

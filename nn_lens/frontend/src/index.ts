/** The entry point that anywidget loads: one store per widget model, any number of drawn views of it. */
import type { AnyModel } from "@anywidget/types";
import { Store } from "./shared/store";
import { renderLab } from "./views/kernel_lab";
import { Panel } from "./views/panel";

export { correlate } from "./shared/correlate";
export { stored } from "./stored";

const stores = new WeakMap<AnyModel, Store>();

function storeOf(model: AnyModel): Store {
  let store = stores.get(model);
  if (!store) {
    store = new Store(model);
    stores.set(model, store);
  }
  return store;
}

export default {
  initialize({ model }: { model: AnyModel }) {
    if (model.get("_kind") === "KernelLab") return;
    const store = storeOf(model);
    return () => {
      store.close();
      stores.delete(model);
    };
  },
  render({ model, el }: { model: AnyModel; el: HTMLElement }) {
    if (model.get("_kind") === "KernelLab") return renderLab(model, el);
    const panel = new Panel(storeOf(model), el);
    return () => panel.close();
  },
};

/** The entry point that anywidget loads: one store per widget model, any number of drawn views of it. */
import type { AnyModel } from "@anywidget/types";
import { renderKernelLab } from "./kernel_lab/widget";
import { Panel } from "./panel/panel";
import { Store } from "./panel/store";
import { DECODERS } from "./views";

export { stored } from "./exported";
export { correlate } from "./kernel_lab/correlate";

/**
 * By what the network is described with, which stays the same object for a widget's life: hosts hand out the model itself as
 * another object each time. Two stores of one widget would take each other's answers for their own.
 */
const stores = new WeakMap<object, Store>();

function storeOf(model: AnyModel): Store {
  const key: object = model.get("_network");
  const store = stores.get(key) ?? new Store(model, DECODERS);
  stores.set(key, store);
  return store;
}

/** The store of the network that is compared, if there is one. */
async function peerOf(store: Store): Promise<Store | null> {
  const id: string = store.model.get("_compared");
  if (!id) return null;
  const model = await store.model.widget_manager.get_model(id);
  return store.peer ?? new Store(model as AnyModel, DECODERS, store);
}

export default {
  initialize({ model }: { model: AnyModel }) {
    // A panel that is compared has its store from the one that it is compared with.
    if (model.get("_kind") === "KernelLab" || Object.keys(model.get("_counterparts")).length) return;
    const store = storeOf(model);
    return () => {
      store.peer?.close();
      store.close();
      stores.delete(model.get("_network"));
    };
  },
  async render({ model, el }: { model: AnyModel; el: HTMLElement }) {
    if (model.get("_kind") === "KernelLab") return renderKernelLab(model, el);
    const store = storeOf(model);
    const panel = new Panel(store, await peerOf(store), el);
    return () => panel.close();
  },
};

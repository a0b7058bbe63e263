/** The entry point that anywidget loads: one store per widget model, any number of drawn views of it. */
import type { AnyModel } from "@anywidget/types";
import { Follower } from "./shared/follower";
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

/** The store of the network that is compared, if there is one. */
async function peerOf(store: Store): Promise<Store | null> {
  const id: string = store.model.get("_beside");
  if (!id) return null;
  const model = await store.model.widget_manager.get_model(id);
  return store.peer ?? new Follower(model as AnyModel, store);
}

export default {
  initialize({ model }: { model: AnyModel }) {
    // A panel that is compared has its store from the one that it is beside.
    if (model.get("_kind") === "KernelLab" || Object.keys(model.get("_follows")).length) return;
    const store = storeOf(model);
    return () => {
      store.peer?.close();
      store.close();
      stores.delete(model);
    };
  },
  async render({ model, el }: { model: AnyModel; el: HTMLElement }) {
    if (model.get("_kind") === "KernelLab") return renderLab(model, el);
    const store = storeOf(model);
    const panel = new Panel(store, await peerOf(store), el);
    return () => panel.close();
  },
};

/** The panels' pictures, put beside their widgets in the notebook's outputs when it is saved. */
import type { DocumentRegistry } from "@jupyterlab/docregistry";
import type { TranslationBundle } from "@jupyterlab/translation";
import { Listening } from "./bridge";
import { pictured } from "./sleeping";

/** What is used of a notebook, its cells and their outputs. */
interface Output {
  data: Record<string, unknown>;
  metadata: Record<string, unknown>;
  setData(options: { data: Record<string, unknown>; metadata: Record<string, unknown> }): void;
}

interface Cell {
  outputArea?: { widgets: readonly { node: HTMLElement }[]; model: { length: number; get(index: number): Output } };
}

interface Notebook {
  node: HTMLElement;
  content: { widgets: readonly Cell[]; rendermime: Parameters<typeof pictured>[0] };
}

const JPEG = "image/jpeg";

export class Keeper implements DocumentRegistry.WidgetExtension {
  constructor(private readonly trans: TranslationBundle) {}

  createNew(widget: unknown, context: DocumentRegistry.IContext<DocumentRegistry.IModel>): Listening {
    const notebook = widget as Notebook;
    const pictures = new Map<HTMLElement, string>();
    pictured(notebook.content.rendermime, this.trans);
    const saving = (_: unknown, state: string) => {
      if (state === "started") keep(notebook, pictures);
    };
    context.saveState.connect(saving);
    return new Listening(
      notebook.node,
      { snapshot: (event) => pictures.set(event.target as HTMLElement, event.detail.data) },
      () => context.saveState.disconnect(saving),
    );
  }
}

/** Puts the pictures where there is no kernel to be seen; what is as it was stays. */
function keep(notebook: Notebook, pictures: Map<HTMLElement, string>): void {
  for (const [panel, data] of pictures) {
    if (!panel.isConnected) pictures.delete(panel);
    for (const { outputArea } of notebook.content.widgets) {
      const index = outputArea?.widgets.findIndex(({ node }) => node.contains(panel)) ?? -1;
      if (!outputArea || index < 0 || index >= outputArea.model.length) continue;
      const output = outputArea.model.get(index);
      if (output.data[JPEG] !== data)
        output.setData({ data: { ...output.data, [JPEG]: data }, metadata: output.metadata });
    }
  }
}

/**
 * JupyterLab's half of the bridge between panels and their notebook. Panels tell of themselves by events that bubble to the
 * notebook's node: where nobody hears them, they offer nothing that needs JupyterLab.
 */
import type { JupyterFrontEnd } from "@jupyterlab/application";
import type { DocumentRegistry } from "@jupyterlab/docregistry";
import { pictured } from "./sleeping";

/** What is used of a notebook, its cells and their outputs. */
interface Output {
  data: Record<string, unknown>;
  metadata: Record<string, unknown>;
  setData(options: { data: Record<string, unknown>; metadata: Record<string, unknown> }): void;
}

interface Cell {
  node: HTMLElement;
  outputArea?: { widgets: readonly { node: HTMLElement }[]; model: { length: number; get(index: number): Output } };
}

export interface Notebook {
  node: HTMLElement;
  isDisposed: boolean;
  content: {
    widgets: readonly Cell[];
    activeCellIndex: number;
    rendermime: { createRenderer(mime: string): unknown };
  };
}

const JPEG = "image/jpeg";

export class Bridge implements DocumentRegistry.WidgetExtension {
  constructor(private readonly app: JupyterFrontEnd) {}

  createNew(
    widget: unknown,
    context: DocumentRegistry.IContext<DocumentRegistry.IModel>,
  ): { dispose(): void; isDisposed: boolean } {
    const notebook = widget as Notebook;
    const pictures = new Map<HTMLElement, string>();
    pictured(notebook.content.rendermime as Parameters<typeof pictured>[0]);
    const heard: [string, (event: CustomEvent) => void][] = [
      ["nn-lens:hello", (event) => event.preventDefault()],
      ["nn-lens:dock", (event) => void this.dock(notebook, event.target as HTMLElement)],
      ["nn-lens:snapshot", (event) => pictures.set(event.target as HTMLElement, event.detail.data)],
    ];
    for (const [name, call] of heard) notebook.node.addEventListener(name, call as EventListener);
    const saving = (_: unknown, state: string) => {
      if (state === "started") keep(notebook, pictures);
    };
    context.saveState.connect(saving);
    return {
      isDisposed: false,
      dispose() {
        this.isDisposed = true;
        context.saveState.disconnect(saving);
        for (const [name, call] of heard) notebook.node.removeEventListener(name, call as EventListener);
      },
    };
  }

  /** Shows a panel's output in a view of its own beside the notebook. */
  private async dock(notebook: Notebook, panel: HTMLElement): Promise<void> {
    const index = notebook.content.widgets.findIndex(({ node }) => node.contains(panel));
    if (index < 0) return;
    notebook.content.activeCellIndex = index;
    await this.app.commands.execute("notebook:create-output-view");
  }
}

/** Puts the panels' pictures beside their widgets in the notebook's outputs, for where there is no kernel; what is as it was stays. */
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

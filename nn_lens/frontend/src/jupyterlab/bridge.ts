/** JupyterLab's half of what a panel asks its notebook: whether somebody is there, and to be docked. */
import type { DocumentRegistry } from "@jupyterlab/docregistry";
import type { NotebookPanel } from "@jupyterlab/notebook";

/** Listens to events of a notebook's node until the notebook goes. */
export class Listening {
  isDisposed = false;

  constructor(
    private readonly node: HTMLElement,
    private readonly heard: Record<string, (event: CustomEvent) => void>,
    private readonly end: () => void = () => {},
  ) {
    for (const [name, call] of Object.entries(heard)) node.addEventListener(`nn-lens:${name}`, call as EventListener);
  }

  dispose(): void {
    if (this.isDisposed) return;
    this.isDisposed = true;
    for (const [name, call] of Object.entries(this.heard))
      this.node.removeEventListener(`nn-lens:${name}`, call as EventListener);
    this.end();
  }
}

export class Bridge implements DocumentRegistry.WidgetExtension {
  constructor(private readonly dock: (notebook: NotebookPanel, panel: HTMLElement) => void) {}

  createNew(widget: unknown): Listening {
    const notebook = widget as NotebookPanel;
    return new Listening(notebook.node, {
      hello: (event) => event.preventDefault(),
      dock: (event) => this.dock(notebook, event.target as HTMLElement),
    });
  }
}

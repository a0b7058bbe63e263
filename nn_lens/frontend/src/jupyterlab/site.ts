/** Where the commands work: the application, and what it has of notebooks and consoles. */
import type { ILabShell, JupyterFrontEnd } from "@jupyterlab/application";
import type { ConsolePanel, IConsoleTracker } from "@jupyterlab/console";
import type { IDocumentManager } from "@jupyterlab/docmanager";
import type { INotebookTracker, NotebookPanel } from "@jupyterlab/notebook";
import type { TranslationBundle } from "@jupyterlab/translation";

/** The names of the commands. */
export const COMMANDS = {
  firstLook: "nn-lens:first-look",
  tutorial: "nn-lens:open-tutorial",
  demo: "nn-lens:open-demo",
  model: "nn-lens:open-model",
  checkpoint: "nn-lens:open-checkpoint",
  picture: "nn-lens:show-picture",
  insert: "nn-lens:insert-view",
  dock: "nn-lens:dock",
  stop: "nn-lens:stop-all",
} as const;

export const DOMAIN = "nn_lens";

export interface Site {
  app: JupyterFrontEnd;
  trans: TranslationBundle;
  /** Null where the host has none, as the page of a file list. */
  notebooks: INotebookTracker | null;
  consoles: IConsoleTracker | null;
  documents: IDocumentManager | null;
  /** JupyterLab's shell; null in Notebook 7, which opens documents in pages of their own. */
  lab: ILabShell | null;
}

export type Document = { is: "notebook"; panel: NotebookPanel } | { is: "console"; panel: ConsolePanel };

/** The notebook or console in front; null where there is none. */
export function documentInFront({
  app,
  notebooks,
  consoles,
}: Pick<Site, "app" | "notebooks" | "consoles">): Document | null {
  const front = app.shell.currentWidget;
  const console_ = consoles?.currentWidget;
  if (console_ && (console_ === front || !notebooks?.currentWidget)) return { is: "console", panel: console_ };
  return notebooks?.currentWidget ? { is: "notebook", panel: notebooks.currentWidget } : null;
}

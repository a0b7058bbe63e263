/** Code that is run for the user: it stands in a cell, so that the notebook stays the record of what was done. */
import { MainAreaWidget, Notification } from "@jupyterlab/apputils";
import type { NotebookPanel } from "@jupyterlab/notebook";
import { OutputArea, OutputAreaModel } from "@jupyterlab/outputarea";
import { lensIcon } from "./icons";
import type { Document, Site } from "./site";

/** A cell that was made, wherever it has moved since. */
export interface Made {
  notebook: NotebookPanel;
  index(): number;
}

/** Runs code in a document; the cell that holds it, null where there is none. */
export async function runCode(site: Site, { is, panel }: Document, code: string): Promise<Made | null> {
  const { app, trans } = site;
  await panel.sessionContext.ready;
  const info = await panel.sessionContext.session?.kernel?.info;
  const language = info?.language_info.name ?? "python";
  if (language !== "python")
    throw new Error(
      trans.__(
        "The kernel of %1 speaks %2, and nn-lens looks into Python. Choose another kernel.",
        panel.title.label,
        language,
      ),
    );
  if (is === "console") {
    await app.commands.execute("console:inject", { path: panel.sessionContext.path, code, activate: false });
    return null;
  }
  if (isReadOnly(panel)) {
    await runBeside(site, panel, code);
    return null;
  }
  const made = insertCell(site, panel, code);
  if (!made) return null;
  await run(panel, made.index());
  return made;
}

/** Opens a new notebook whose first cell holds the code, and runs it where this page shows it. */
export async function runInNew(site: Site, code: string, cwd: string): Promise<Made | null> {
  const { app, documents, trans } = site;
  const { contents, kernelspecs } = app.serviceManager;
  await kernelspecs.ready;
  const specs = kernelspecs.specs;
  const all = Object.values(specs?.kernelspecs ?? {});
  const kernel =
    all.find((spec) => spec?.name === specs?.default && spec?.language === "python") ??
    all.find((spec) => spec?.language === "python");
  if (!kernel || !documents) throw new Error(trans.__("There is no kernel for Python here; install ipykernel."));
  const { path } = await contents.newUntitled({ path: cwd, type: "notebook" });
  await contents.save(path, { type: "notebook", format: "json", content: notebookOf(code, kernel) });
  const panel = documents.openOrReveal(path) as NotebookPanel | undefined;
  if (!panel) return null;
  await panel.context.ready;
  await panel.sessionContext.ready;
  await run(panel, 0);
  return { notebook: panel, index: () => 0 };
}

/** Runs one cell of a notebook, also where another document has come to the front meanwhile. */
async function run({ content, sessionContext }: NotebookPanel, index: number): Promise<void> {
  const { NotebookActions } = await import("@jupyterlab/notebook");
  content.activeCellIndex = index;
  content.deselectAll();
  await NotebookActions.run(content, sessionContext);
}

function notebookOf(code: string, { name, display_name }: { name: string; display_name: string }): object {
  const cell = {
    cell_type: "code",
    execution_count: null,
    id: "lens",
    metadata: { trusted: true },
    outputs: [],
    source: code,
  };
  const kernelspec = { name, display_name, language: "python" };
  return { cells: [cell], metadata: { kernelspec }, nbformat: 4, nbformat_minor: 5 };
}

export function isReadOnly({ context, content }: NotebookPanel): boolean {
  return context.contentsModel?.writable === false || (content.model?.readOnly ?? false);
}

/**
 * Puts code into a cell of its own, below the active one where no index is given; an empty cell takes it itself. Where
 * nothing may be written, says the code, and inserts it if that is wished.
 */
export function insertCell(site: Site, notebook: NotebookPanel, code: string, at?: number): Made | null {
  if (isReadOnly(notebook)) {
    offer(site, notebook, code, site.trans.__("This notebook is read-only. The code:"));
    return null;
  }
  return inserted(notebook, code, at);
}

function inserted(notebook: NotebookPanel, code: string, at?: number): Made | null {
  const model = notebook.content.model?.sharedModel;
  if (!model) return null;
  const active = notebook.content.activeCell;
  const here = notebook.content.activeCellIndex;
  if (at === undefined && active?.model.type === "code" && !active.model.sharedModel.source.trim()) {
    active.model.sharedModel.setSource(code);
    return { notebook, index: () => notebook.content.widgets.indexOf(active) };
  }
  const index = at ?? here + 1;
  const cell = model.insertCell(index, { cell_type: "code", source: code, metadata: { trusted: true } });
  notebook.content.activeCellIndex = index;
  const id = cell.getId();
  return { notebook, index: () => notebook.content.widgets.findIndex(({ model: each }) => each.id === id) };
}

function offer({ trans }: Site, notebook: NotebookPanel, code: string, why: string): void {
  Notification.info(`${why}\n${code}`, {
    autoClose: false,
    actions: [{ label: trans.__("Insert"), callback: () => inserted(notebook, code) }],
  });
}

/** Runs code in a notebook's kernel without a cell, drawn by the notebook's own widgets in a view beside it. */
async function runBeside(site: Site, notebook: NotebookPanel, code: string): Promise<void> {
  const { app, trans, lab } = site;
  const area = new OutputArea({
    model: new OutputAreaModel({ trusted: true }),
    rendermime: notebook.content.rendermime,
  });
  const view = new MainAreaWidget({ content: area });
  view.id = `nn-lens-beside-${notebook.id}-${Date.now()}`;
  view.title.label = trans.__("NN Lens");
  view.title.icon = lensIcon;
  view.title.closable = true;
  area.node.style.overflow = "auto";
  app.shell.add(view, lab ? "main" : "down", { ref: notebook.id, mode: "split-right", activate: false });
  notebook.disposed.connect(() => view.dispose());
  offer(site, notebook, code, trans.__("This notebook is read-only. The kernel ran:"));
  await OutputArea.execute(code, area, notebook.sessionContext, { cellId: view.id });
}

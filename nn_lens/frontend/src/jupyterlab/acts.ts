/** What the commands do. Loaded when the first of them is used. */
import { Dialog, InputDialog, showDialog } from "@jupyterlab/apputils";
import type { NotebookPanel } from "@jupyterlab/notebook";
import { Asking } from "./asking";
import { insertCell, type Made, runCode, runInNew } from "./cells";
import { bytesOf, codeFor, folderOf, localPath, nameOf, pathFrom, pythonText } from "./files";
import { panels } from "./panels";
import { documentInFront, type Site } from "./site";

/** Milliseconds that a picture waits for a panel that is being opened, and bytes of a picture that are taken. */
const [PATIENCE, LARGEST] = [180_000, 64 << 20];
const WIDGET = "application/vnd.jupyter.widget-view+json";

interface Given {
  unit?: unknown;
  cwd?: unknown;
  name?: unknown;
}

/** Opens a panel on what a Python expression gives, in the document in front or in a new notebook. */
export async function open(site: Site, expression: string, { unit, cwd }: Given, more = ""): Promise<void> {
  const first = typeof unit === "string" && unit ? `, unit=${pythonText(unit)}` : "";
  const code = `import nn_lens as nl\n\nnl.Lens(${expression}${first}${more})`;
  const front = documentInFront(site);
  const made = front ? await runCode(site, front, code) : await runInNew(site, code, String(cwd ?? ""));
  await dockMade(site, made);
}

async function dockMade(site: Site, made: Made | null): Promise<void> {
  if (!made || !showsWidget(made)) return;
  await dock(site, made.notebook, made.index());
}

/** Whether a cell's outputs have a widget; an error stays where it is. */
function showsWidget({ notebook, index }: Made): boolean {
  const cell = notebook.content.widgets[index()];
  const outputs = cell?.model.toJSON().outputs as { data?: object }[] | undefined;
  return outputs?.some(({ data }) => data && WIDGET in data) ?? false;
}

export async function openModel(site: Site, given: Given): Promise<void> {
  const { trans } = site;
  const name = typeof given.name === "string" && given.name ? given.name : await chosenModel(site);
  if (name === null) return;
  if (!/^[\p{L}_][\p{L}\p{N}_]*(\.[\p{L}_][\p{L}\p{N}_]*)*$/u.test(name))
    throw new Error(trans.__("“%1” is no name of Python: name a variable, or an attribute of one.", name));
  await open(site, name, given);
}

/** The name of a network of the kernel that is chosen from a list; null where none was. */
async function chosenModel(site: Site): Promise<string | null> {
  const { trans } = site;
  const front = documentInFront(site);
  const kernel = front?.panel.sessionContext.session?.kernel;
  const seen = kernel ? await new Asking(kernel).ask() : null;
  const nets = seen?.nets ?? [];
  if (!nets.length) {
    const body = kernel
      ? trans.__(
          "The kernel holds no network under a name yet. Run the cell that makes one, or open the bundled network.",
        )
      : trans.__("There is no notebook or console with a kernel. Open one, or open the bundled network.");
    const buttons = [
      Dialog.cancelButton({ label: trans.__("Cancel") }),
      Dialog.okButton({ label: trans.__("Open the Bundled Network") }),
    ];
    const { button } = await showDialog({ title: trans.__("No network yet"), body, buttons });
    if (button.accept) await open(site, "nl.demo()", {});
    return null;
  }
  const items = nets.map(({ name, of }) => `${name} (${of})`);
  const title = trans.__("Which network?");
  const { value } = await InputDialog.getItem({ title, items, okLabel: trans.__("Open") });
  return nets[items.indexOf(value ?? "")]?.name ?? null;
}

/** Opens a checkpoint by its place beside the notebook, where the kernel is. */
export async function openCheckpoint(site: Site, path: string): Promise<void> {
  const { trans } = site;
  const local = localPath(site, path);
  if (local === null)
    throw new Error(
      trans.__(
        "%1 lies on another drive, which the kernel does not reach. Copy it to a folder beside the notebook.",
        path,
      ),
    );
  const front = documentInFront(site);
  const from = folderOf(front ? (localPath(site, front.panel.sessionContext.path) ?? "") : local);
  await open(site, `nl.load(${pythonText(pathFrom(from, local))})`, { cwd: folderOf(local) });
}

/** Has the open panel look at a picture of any drive, or opens the bundled network on it. */
export async function showPicture(site: Site, path: string): Promise<void> {
  const { app, trans } = site;
  const front = documentInFront(site);
  let panel = panels.front(front?.panel.node ?? null);
  if (!panel && !front && !site.lab) {
    // Another page opens the notebook: the picture is named in its cell.
    const local = localPath(site, path);
    if (local === null)
      throw new Error(trans.__("%1 lies on another drive, which a new notebook does not reach.", path));
    return open(site, "nl.demo()", { cwd: folderOf(local) }, `, picture=${pythonText(nameOf(local))}`);
  }
  const { size } = await app.serviceManager.contents.get(path, { content: false });
  if ((size ?? 0) > LARGEST) throw new Error(trans.__("%1 has more than %2 MB.", nameOf(path), LARGEST >> 20));
  const file = await bytesOf(site, path);
  if (!panel) {
    const next = panels.next(PATIENCE);
    await open(site, "nl.demo()", { cwd: folderOf(localPath(site, path) ?? "") });
    const came = await next;
    // The notebook may have drawn it anew while it was docked.
    panel = came?.root.isConnected ? came : (panels.all.at(-1) ?? null);
  }
  if (panel) panels.ask(panel, "picture", { file });
}

export async function openTutorial(site: Site, name: string, cwd: string): Promise<unknown> {
  const { trans, documents } = site;
  const { default: tutorials } = await import("./tutorials.json");
  const names = Object.keys(tutorials);
  let chosen: string | null = name;
  if (!names.includes(name)) {
    if (name) throw new Error(trans.__("There is no tutorial “%1”; there are %2.", name, names.join(", ")));
    chosen = (await InputDialog.getItem({ title: trans.__("Which tutorial?"), items: names })).value;
  }
  if (!chosen) return undefined;
  const path = await tutorialPath(site, chosen, cwd, tutorials[chosen as keyof typeof tutorials]);
  return documents?.openOrReveal(path);
}

/** Where a tutorial is: in `folder`, where `nn-lens` puts it, in a checkout, or made anew in `folder`. */
async function tutorialPath({ app }: Site, name: string, folder: string, content: object): Promise<string> {
  const { contents } = app.serviceManager;
  const file = `${name}.ipynb`;
  // Folders are listed: asking for a file that is not there would leave an error in the console.
  const names = async (path: string): Promise<string[]> =>
    (await contents.get(path)).content.map((entry: { name: string }) => entry.name);
  const root = await names("");
  for (const path of new Set([folder, "", ...(root.includes("notebooks") ? ["notebooks"] : [])])) {
    if ((path ? await names(path) : root).includes(file)) return path ? `${path}/${file}` : file;
  }
  const here = folder ? `${folder}/${file}` : file;
  await contents.save(here, { type: "notebook", format: "json", content });
  return here;
}

// ---- panels that are open ----

export function askForCode(site: Site): void {
  const panel = panels.front(documentInFront(site)?.panel.node ?? null);
  if (panel) panels.ask(panel, "code"); // it answers by the event that `insertView` is called at
}

/** Puts the Python of a panel's view into a cell below it; the panel calls its network `net`, whatever the cell calls it. */
export async function insertView(site: Site, root: HTMLElement, code: string): Promise<void> {
  const front = documentInFront(site);
  if (front?.is !== "notebook") return;
  const notebook = front.panel;
  const at = notebook.content.widgets.findIndex(({ node }) => node.contains(root));
  const source = at < 0 ? "" : notebook.content.widgets[at].model.sharedModel.source;
  insertCell(site, notebook, codeFor(source, code), at < 0 ? undefined : at + 1);
}

export function stopAll(): void {
  for (const panel of panels.all) panels.ask(panel, "stop");
}

export async function dockFront(site: Site): Promise<void> {
  const front = documentInFront(site);
  const panel = panels.front(front?.panel.node ?? null);
  if (panel && front?.is === "notebook") await dockPanel(site, front.panel, panel.root);
}

export async function dockPanel(site: Site, notebook: NotebookPanel, panel: HTMLElement): Promise<void> {
  const index = notebook.content.widgets.findIndex(({ node }) => node.contains(panel));
  if (index >= 0) await dock(site, notebook, index);
}

/** Shows a cell's output in a view right of the notebook; where there is one document only, in sight. */
async function dock(site: Site, notebook: NotebookPanel, index: number): Promise<void> {
  const { app, lab } = site;
  const view = "notebook:create-output-view";
  if (!lab || !app.commands.hasCommand(view)) {
    notebook.content.activeCellIndex = index;
    return notebook.content.scrollToItem(index);
  }
  const before = new Set(lab.widgets("main"));
  await app.commands.execute(view, { path: notebook.context.path, index });
  for (const made of lab.widgets("main"))
    if (!before.has(made)) lab.add(made, "main", { ref: notebook.id, mode: "split-right", activate: false });
  lab.activateById(notebook.id);
}

/** The networks of the kernel in front, as trees of their layers that can be searched, selected, opened and inserted. */
import "../../../style/side.css";
import type { ISessionContext } from "@jupyterlab/apputils";
import { el, say } from "../../drawing/dom";
import { VirtualList } from "../../finding/list";
import { counted } from "../../finding/tree";
import type { Net } from "../asking";
import { insertCell, isReadOnly } from "../cells";
import { pythonText } from "../files";
import { panels } from "../panels";
import { COMMANDS, type Document, documentInFront, type Site } from "../site";
import { type Line, Rows } from "./rows";
import { type Word, wordFor } from "./states";
import { type Inspector, Inspectors } from "./watching";

const LINE = 24;

export class SideView {
  private readonly of = el("h2", { class: "of" });
  private readonly search: HTMLInputElement;
  private readonly note = el("p", { class: "note", role: "status" });
  private readonly way = el("button", { type: "button", class: "jp-mod-styled jp-mod-accept" });
  private readonly list: VirtualList;
  private readonly rows = new Rows();
  private readonly inspectors = new Inspectors();
  private document: Document | null = null;
  private context: ISessionContext | null = null;
  private inspector: Inspector | null = null;
  private word: Word | null = null;
  private seen = false;
  private frame = 0;

  constructor(
    node: HTMLElement,
    private readonly site: Site,
  ) {
    const { trans, app, notebooks, consoles, lab } = site;
    this.search = el("input", { type: "search", class: "jp-mod-styled", "aria-label": trans.__("Search the layers") });
    this.search.placeholder = trans.__("name, kind or shape");
    this.list = new VirtualList(
      trans.__("Networks and their layers"),
      LINE,
      (index, into) => this.drawLine(index, into),
      (index, event) => this.chosen(index, event),
    );
    const { root } = this.list;
    root.addEventListener("dblclick", (event) => this.open(this.lineAt(event)));
    root.addEventListener("dragstart", (event) => this.drag(event));
    root.addEventListener("keydown", (event) => this.key(event), { capture: true });
    root.title = trans.__("Click: select in the open panel. Double click: open a panel. Enter or drag: insert code.");
    this.search.addEventListener("input", () => {
      this.rows.search(this.search.value.trim());
      this.draw();
    });
    this.way.addEventListener("click", () => void this.help());
    node.append(el("header", {}, this.of, this.search), this.note, this.way, root);
    const moved = () => this.follow();
    lab?.currentChanged.connect(moved);
    notebooks?.currentChanged.connect(moved);
    consoles?.currentChanged.connect(moved);
    panels.changed.connect(() => this.later());
    void app.restored.then(moved);
  }

  /** Begins or ends looking at the kernel; while nobody sees this, nothing is asked and nothing drawn. */
  look(is: boolean): void {
    if (is === this.seen) return;
    this.seen = is;
    this.inspector?.watch(is);
    this.follow();
  }

  /** Turns to the document in front. */
  private follow(): void {
    const document = documentInFront(this.site);
    const context = document?.panel.sessionContext ?? null;
    if (context !== this.context) {
      for (const signal of signalsOf(this.context)) signal.disconnect(this.follow, this);
      for (const signal of signalsOf(context)) signal.connect(this.follow, this);
      this.context = context;
      void context?.ready.then(() => this.follow());
    }
    this.document = document;
    const kernel = context?.session?.kernel;
    const inspector = kernel && !kernel.isDisposed ? this.inspectors.of(kernel) : null;
    if (inspector !== this.inspector) {
      this.inspector?.changed.disconnect(this.later, this);
      if (this.seen) this.inspector?.watch(false);
      this.inspector = inspector;
      inspector?.changed.connect(this.later, this);
      if (this.seen) inspector?.watch(true);
    }
    this.later();
  }

  private later(): void {
    if (this.seen && !this.frame)
      this.frame = requestAnimationFrame(() => {
        this.frame = 0;
        this.draw();
      });
  }

  // ---- drawing ----

  private draw(): void {
    const { site, document, inspector, list } = this;
    this.word = wordFor(site, document, inspector);
    const nets = this.word ? [] : (inspector?.seen?.nets ?? []);
    this.rows.take(nets);
    const { lines } = this.rows;
    say(this.of, document?.panel.title.label ?? "");
    say(this.note, this.word?.text ?? this.about(lines.length));
    this.note.hidden = !this.note.textContent;
    say(this.way, this.word?.button ?? "");
    this.way.hidden = !this.word?.button;
    this.search.hidden = nets.length === 0;
    list.root.hidden = lines.length === 0;
    list.show(lines.length, Math.min(list.marked, lines.length - 1));
  }

  /** What is to be known beside the list. */
  private about(lines: number): string {
    const { trans } = this.site;
    const inspector = this.inspector as Inspector;
    const parts: string[] = [];
    if (!lines) parts.push(trans.__("No layer answers this search."));
    if (inspector.busy && inspector.cell === null) parts.push(trans.__("A cell runs; this is from before."));
    else if (inspector.busy) parts.push(trans.__("A cell runs; this is as of cell %1.", inspector.cell));
    if (inspector.failed) parts.push(trans.__("The kernel did not answer; this is what it said before."));
    if (!inspector.seen?.whole) parts.push(trans.__("There is more than can be listed."));
    return parts.join(" ");
  }

  private drawLine(index: number, into: HTMLElement): void {
    const line = this.rows.lines[index];
    if (!line) return;
    const { net, row } = line;
    const unit = this.unitAt(line);
    const folded = row ? (row.count && !this.search.value ? row.folded : null) : !this.rows.isOpen(net);
    const detail = row ? this.detailOf(line) : this.detailOfNet(net);
    const state = `${net.name} ${row?.path} ${detail} ${folded} ${unit}`;
    if (into.dataset.state === state) return;
    into.dataset.state = state;
    into.draggable = !row || row.leaf !== null;
    into.title = row ? `${net.name}, ${row.path}, ${detail}` : `${net.name}, ${detail}`;
    into.style.paddingLeft = `${4 + 12 * (row ? row.depth + 1 : 0)}px`;
    into.classList.toggle("net", !row);
    into.classList.toggle("now", unit !== null);
    // The parts stay the same elements: a double click on one that was replaced by the first click is none.
    if (!into.children.length)
      into.append(
        el("span", { class: "fold", "aria-hidden": "true" }),
        el("span", { class: "who" }),
        el("span", { class: "detail" }),
      );
    const [sign, who, much] = into.children as unknown as HTMLElement[];
    say(sign, folded === null ? "" : folded ? "▸" : "▾");
    say(who, (row?.label ?? net.name) + (unit === null ? "" : `:${unit}`));
    say(much, detail);
  }

  private detailOf({ row }: Line): string {
    const leaf = row?.leaf;
    if (!leaf) return "";
    const shape = leaf.shape.length ? ` · ${leaf.shape.join("×")}` : "";
    return `${leaf.kind}${shape}${leaf.parameters ? ` · ${counted(leaf.parameters)}` : ""}`;
  }

  private detailOfNet({ kind, of, parameters, device, training }: Net): string {
    const { trans } = this.site;
    const what = { module: "", network: "nl.Network · ", session: "nl.Session · " }[kind];
    const mode = training ? trans.__("training") : trans.__("evaluation");
    const size = trans.__("%1 parameters", counted(parameters));
    return `${what}${of} · ${size}${device ? ` · ${device}` : ""} · ${mode}`;
  }

  /** The unit that the open panel has selected, where a line is its layer; else null. */
  private unitAt({ net, row }: Line): number | null {
    if (!row?.leaf) return null;
    const panel = panels.front(this.document?.panel.node ?? null, net.model);
    const at = panel ? panel.unit.lastIndexOf(":") : -1;
    return panel && at >= 0 && panel.unit.slice(0, at) === row.path ? Number(panel.unit.slice(at + 1)) : null;
  }

  // ---- what is done with a line ----

  private lineAt(event: Event): Line | null {
    const at = (event.target as Element).closest<HTMLElement>(".line")?.dataset.index;
    return at === undefined ? null : (this.rows.lines[Number(at)] ?? null);
  }

  private chosen(index: number, event: Event): void {
    const line = this.rows.lines[index];
    if (!line) return;
    this.list.mark(index);
    const onSign = (event.target as Element).classList.contains("fold");
    const panel = panels.front(this.document?.panel.node ?? null, line.net.model);
    if (event instanceof KeyboardEvent && event.key === "Enter") this.insert(line);
    else if (!line.row?.leaf || onSign) this.fold(line);
    else if (panel) panels.ask(panel, "select", { unit: this.unitOf(line) });
    else {
      say(this.note, this.site.trans.__("No panel of this network is open; double click opens one."));
      this.note.hidden = false;
    }
  }

  private fold(line: Line): void {
    this.rows.fold(line);
    this.draw();
  }

  private key(event: KeyboardEvent): void {
    const line = this.rows.lines[this.list.marked];
    const folds = { ArrowRight: true, ArrowLeft: false }[event.key];
    if (folds === undefined || !line) return;
    const folded = line.row ? line.row.folded : !this.rows.isOpen(line.net);
    if (folded === folds) this.fold(line);
    event.preventDefault();
    event.stopPropagation();
  }

  private open(line: Line | null): void {
    if (!line || (line.row && !line.row.leaf)) return;
    const unit = line.row ? { unit: this.unitOf(line) } : {};
    void this.site.app.commands.execute(COMMANDS.model, { name: line.net.name, ...unit });
  }

  private drag(event: DragEvent): void {
    const line = this.lineAt(event);
    if (!line || !event.dataTransfer) return;
    event.dataTransfer.setData("text/plain", this.codeOf(line));
    event.dataTransfer.effectAllowed = "copy";
  }

  private insert(line: Line): void {
    const { site, document } = this;
    const code = this.codeOf(line);
    if (document?.is === "notebook") {
      const editor = isReadOnly(document.panel) ? null : document.panel.content.activeCell?.editor;
      if (editor?.replaceSelection) editor.replaceSelection(code);
      else insertCell(site, document.panel, code);
    } else if (document?.is === "console") document.panel.console.promptCell?.editor?.replaceSelection?.(code);
  }

  private unitOf({ row, net }: Line): string {
    return `${row?.path}:${(row && this.unitAt({ net, row })) ?? 0}`;
  }

  /** Python for a line: a unit of the layer, or the call that opens the network. */
  private codeOf(line: Line): string {
    const alias = this.inspector?.seen?.alias || "nl";
    if (!line.row) return `${alias}.Lens(${line.net.name})`;
    const unit = this.unitOf(line);
    return `${alias}.Unit(${pythonText(line.row.path)}, ${unit.slice(unit.lastIndexOf(":") + 1)})`;
  }

  private async help(): Promise<void> {
    const { word, document, site } = this;
    if (word?.again) this.inspector?.again();
    else if (word?.insert && document?.is === "notebook") insertCell(site, document.panel, word.insert);
    else if (word?.insert && document?.is === "console")
      document.panel.console.promptCell?.model.sharedModel.setSource(word.insert);
    else if (word?.command) await site.app.commands.execute(word.command);
  }
}

/** What a document's session tells of: another kernel, another state. */
function signalsOf(context: ISessionContext | null) {
  return context
    ? [context.kernelChanged, context.statusChanged, context.connectionStatusChanged, context.sessionChanged]
    : [];
}

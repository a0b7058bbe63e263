/**
 * What only some hosts can do, asked for by events that bubble up from the panel. A host that hears them says so; without an
 * answer nothing is offered that needs it. The other way, a host asks by events on the panel's own node.
 */

/** What a panel is at: the name of what is made, "" while nothing is, and which share of it is done if that is known. */
export interface Work {
  what: string;
  share: number | null;
}

/** What a host may ask, by the event's name. */
export interface Asked {
  /** To select a unit, of its text. */
  select(detail: { unit: string }): void;
  /** To look at a picture. */
  picture(detail: { file: File }): void;
  /** To give the Python that makes the present view. */
  code(): void;
  /** To end all work. */
  stop(): void;
}

export class Host {
  private asked = false;
  private hears = false;

  constructor(
    private readonly root: HTMLElement,
    does: Asked,
  ) {
    for (const [name, call] of Object.entries(does))
      root.addEventListener(`nn-lens:${name}`, (event) => call((event as CustomEvent).detail));
  }

  /** Whether JupyterLab's extension is there; asked once the panel is in the page. */
  get here(): boolean {
    if (!this.asked && this.root.isConnected) {
      this.asked = true;
      this.hears = !this.tell("hello", {}, true);
    }
    return this.hears;
  }

  /** Whether what is told can be heard at all. */
  get isInPage(): boolean {
    return this.root.isConnected;
  }

  /** Shows the panel in a view of its own beside the notebook. */
  dock(): void {
    this.tell("dock");
  }

  /** Gives the picture that the notebook is to hold, a JPEG in base64. */
  picture(data: string): void {
    this.tell("snapshot", { data });
  }

  /** Has Python put into a cell. */
  insert(code: string): void {
    this.tell("insert", { code });
  }

  /** Says which unit of which model, an object of the kernel, is selected. */
  selected(model: string, unit: string): void {
    this.tell("selected", { model, unit });
  }

  /** Says what the panel is at. */
  working(work: Work): void {
    this.tell("working", work);
  }

  /** Says that the panel goes. */
  close(): void {
    this.tell("closed");
  }

  private tell(name: string, detail: object = {}, cancelable = false): boolean {
    return this.root.dispatchEvent(new CustomEvent(`nn-lens:${name}`, { bubbles: true, cancelable, detail }));
  }
}

/**
 * What only some hosts can do, asked for by events that bubble up from the panel. A host that hears them says so; without an
 * answer nothing is offered that needs it.
 */
export class Host {
  private asked = false;
  private hears = false;

  constructor(private readonly root: HTMLElement) {}

  /** Whether JupyterLab's extension is there; asked once the panel is in the page. */
  get here(): boolean {
    if (!this.asked && this.root.isConnected) {
      this.asked = true;
      this.hears = !this.tell("hello", {}, true);
    }
    return this.hears;
  }

  /** Shows the panel in a view of its own beside the notebook. */
  dock(): void {
    this.tell("dock");
  }

  /** Gives the picture that the notebook is to hold, a JPEG in base64. */
  picture(data: string): void {
    this.tell("snapshot", { data });
  }

  private tell(name: string, detail: object = {}, cancelable = false): boolean {
    return this.root.dispatchEvent(new CustomEvent(`nn-lens:${name}`, { bubbles: true, cancelable, detail }));
  }
}

/** Arrow keys. */

const STEPS: Record<string, [rows: number, columns: number]> = {
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
};

/** The rows and columns that an arrow key goes, undefined for other keys; what it would do to the page is prevented. */
export function stepOf(event: KeyboardEvent): [rows: number, columns: number] | undefined {
  const step = STEPS[event.key];
  if (step) {
    event.preventDefault();
    event.stopPropagation();
  }
  return step;
}

/** JupyterLab binds the arrow keys to whatever has the focus; it leaves alone what says so itself. */
export function keepKeys(root: HTMLElement): void {
  root.addEventListener("focusin", (event) =>
    (event.target as HTMLElement).setAttribute("data-lm-suppress-shortcuts", "true"),
  );
}

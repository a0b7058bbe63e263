/** Making elements in one expression. */

type Attributes = Record<string, string | number | boolean | ((event: never) => void)>;

/** An element with attributes, listeners (`onclick` and the like) and children. */
export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name.slice(2), value as EventListener);
    else if (typeof value === "boolean") node.toggleAttribute(name, value);
    else node.setAttribute(name, String(value));
  }
  node.append(...children);
  return node;
}

/** Sets a text only if it is another, so that screen readers are not told the same thing again. */
export function say(node: HTMLElement, text: string): void {
  if (node.textContent !== text) node.textContent = text;
}

/** A number as people read it. */
export function short(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 100000)) return value.toExponential(1);
  return String(Number(value.toPrecision(3)));
}

/** As `short`, with a digit less where that would be more than a narrow tile has room for. */
export function brief(value: number): string {
  const text = short(value);
  return Math.abs(value) < 0.1 && text.length > 6 && !text.includes("e") ? String(Number(value.toPrecision(2))) : text;
}

/** Puts a text on the clipboard; whether the page may. */
export async function copied(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = el("textarea", { "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

/** A name and a number below a picture: of these the name may be cut, with the whole on hover, the number never is. */
export function caption(node: HTMLElement, name: string, value: string): void {
  const text = value ? `${name} · ${value}` : name;
  if (node.textContent === text) return;
  const who = el("span", { class: "who" }, name);
  const much = el("span", { class: "much" }, value);
  node.replaceChildren(who, ...(value ? [el("span", { class: "sep" }, " · "), much] : []));
  node.title = text;
}

/** Bytes as base64. */
export function text64(data: Uint8Array): string {
  let text = "";
  for (let i = 0; i < data.length; i += 32768) text += String.fromCharCode(...data.subarray(i, i + 32768));
  return btoa(text);
}

/** Panels whose kernel is gone: the picture that the output carries beside the widget is drawn where the widget cannot be. */
import type { TranslationBundle } from "@jupyterlab/translation";

const WIDGET = "application/vnd.jupyter.widget-view+json";
/** Milliseconds between looks at whether the widget has been drawn, and how often. */
const [PAUSE, LOOKS] = [250, 40];

interface Model {
  data: Record<string, unknown>;
}

interface Renderer {
  node: HTMLElement;
  renderModel(model: Model): Promise<void>;
}

/** Has widgets drawn as pictures while they cannot be drawn themselves, and not drawn anew when their picture is. */
export function pictured(rendermime: { createRenderer(mime: string): Renderer }, trans: TranslationBundle): void {
  const create = rendermime.createRenderer.bind(rendermime);
  rendermime.createRenderer = (mime) => {
    const renderer = create(mime);
    if (mime === WIDGET) keepPicture(renderer, trans);
    return renderer;
  };
}

function keepPicture(renderer: Renderer, trans: TranslationBundle): void {
  const render = renderer.renderModel.bind(renderer);
  let drawn = "";
  renderer.renderModel = async (model) => {
    const view = model.data[WIDGET] as { model_id?: string } | undefined;
    const picture = model.data["image/jpeg"] ?? model.data["image/png"];
    const id = view?.model_id ?? "";
    // The widget is there: what has changed is the picture beside it.
    if (id && id === drawn && isLive(renderer.node)) return;
    drawn = id;
    const asleep = typeof picture === "string" ? pictureOf(picture, model, trans) : null;
    if (asleep) renderer.node.before(asleep);
    await render(model);
    if (asleep) void look(renderer.node, asleep);
  };
}

/** Takes the picture away once the widget is there; shows it in place of an error. */
async function look(node: HTMLElement, asleep: HTMLElement): Promise<void> {
  if (!asleep.isConnected) node.before(asleep);
  for (let i = 0; i < LOOKS; i++) {
    if (isLive(node)) {
      asleep.remove();
      node.style.display = "";
      return;
    }
    node.style.display = "none";
    await new Promise((then) => window.setTimeout(then, PAUSE));
  }
}

function isLive(node: HTMLElement): boolean {
  return node.querySelector(".nn-lens") !== null;
}

function pictureOf(data: string, { data: { "text/plain": text } }: Model, trans: TranslationBundle): HTMLElement {
  const figure = document.createElement("figure");
  figure.className = "nn-lens-asleep";
  figure.style.margin = "0";
  const words = document.createElement("figcaption");
  words.textContent = trans.__("This is the last state of the panel. Run the cell to make it live.");
  words.style.padding = "4px 0 8px";
  const image = document.createElement("img");
  image.src = `data:${data.startsWith("iVBOR") ? "image/png" : "image/jpeg"};base64,${data}`;
  image.alt = text
    ? trans.__("The last state of %1", String(text).split(":")[0])
    : trans.__("The last state of a panel");
  image.style.maxWidth = "100%";
  figure.append(words, image);
  return figure;
}

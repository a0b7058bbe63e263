/** A small picture of what an element shows, for when there is no kernel: boxes, canvases, sliders and words, as laid out. */
import { type Picture, sizeOf } from "./still";

/** Pixels of the picture's width and height at most, and bytes that it may take in a notebook. */
const [WIDTH, HEIGHT] = [720, 1600];
const BYTES = 60 << 10;

/** A JPEG of an element, of a lower quality the more there is to see. */
export async function snapshot(root: HTMLElement): Promise<Uint8Array> {
  const box = root.getBoundingClientRect();
  const scale = Math.min(1, WIDTH / box.width, HEIGHT / box.height);
  const canvas = new OffscreenCanvas(Math.ceil(box.width * scale), Math.ceil(box.height * scale));
  const context = canvas.getContext("2d");
  if (!context) return new Uint8Array();
  context.fillStyle = getComputedStyle(root).backgroundColor;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.scale(scale, scale);
  context.translate(-box.left, -box.top);
  draw(context, root);
  for (let quality = 0.8; ; quality -= 0.15) {
    const blob = await canvas.convertToBlob({ type: "image/jpeg", quality });
    if (blob.size <= BYTES || quality < 0.2) return new Uint8Array(await blob.arrayBuffer());
  }
}

type Context = OffscreenCanvasRenderingContext2D;

function draw(context: Context, node: Element): void {
  const style = getComputedStyle(node);
  const box = node.getBoundingClientRect();
  if (style.display === "none" || style.visibility === "hidden" || !box.width || !box.height) return;
  context.save();
  context.globalAlpha *= Number(style.opacity);
  if (node instanceof HTMLElement) drawBox(context, style, box);
  if (style.overflow !== "visible") {
    context.beginPath();
    context.rect(box.left, box.top, box.width, box.height);
    context.clip();
  }
  if (node instanceof HTMLCanvasElement || node instanceof HTMLImageElement) drawPicture(context, node, style, box);
  else if (node instanceof HTMLInputElement) drawInput(context, node, style, box);
  else if (node instanceof HTMLSelectElement) write(context, node.selectedOptions[0]?.text ?? "", style, box);
  else if (node instanceof SVGRectElement) {
    context.fillStyle = style.fill;
    context.fillRect(box.left, box.top, box.width, box.height);
  } else
    for (const child of node.childNodes) {
      if (child instanceof Text) drawText(context, child, style);
      else if (child instanceof Element && child.tagName !== "STYLE") draw(context, child);
    }
  context.restore();
}

function drawBox(context: Context, style: CSSStyleDeclaration, box: DOMRect): void {
  context.fillStyle = style.backgroundColor;
  context.fillRect(box.left, box.top, box.width, box.height);
  const width = Number.parseFloat(style.borderTopWidth);
  if (!width || style.borderTopStyle === "none") return;
  context.strokeStyle = style.borderTopColor;
  context.lineWidth = width;
  context.strokeRect(box.left + width / 2, box.top + width / 2, box.width - width, box.height - width);
}

function drawPicture(context: Context, picture: Picture, style: CSSStyleDeclaration, box: DOMRect): void {
  const [width, height] = sizeOf(picture);
  if (!width || !height) return;
  let [w, h] = [box.width, box.height];
  if (style.objectFit === "contain") {
    const fit = Math.min(w / width, h / height);
    [w, h] = [width * fit, height * fit];
  }
  context.imageSmoothingEnabled = style.imageRendering !== "pixelated";
  context.drawImage(picture, box.left + (box.width - w) / 2, box.top + (box.height - h) / 2, w, h);
}

function drawInput(context: Context, input: HTMLInputElement, style: CSSStyleDeclaration, box: DOMRect): void {
  if (input.type === "range") {
    const [low, high] = [Number(input.min), Number(input.max)];
    const share = high > low ? (Number(input.value) - low) / (high - low) : 0;
    const middle = box.top + box.height / 2;
    context.fillStyle = style.borderTopColor;
    context.fillRect(box.left, middle - 2, box.width, 4);
    context.fillStyle = style.accentColor;
    context.beginPath();
    context.arc(box.left + 8 + share * (box.width - 16), middle, 8, 0, 2 * Math.PI);
    context.fill();
  } else if (input.type === "checkbox") {
    context.strokeStyle = style.color;
    context.strokeRect(box.left, box.top, box.width, box.height);
    if (input.checked) write(context, "✓", style, box);
  } else if (input.type !== "file") write(context, input.value, style, box);
}

/** A text as its element breaks it into lines. */
function drawText(context: Context, text: Text, style: CSSStyleDeclaration): void {
  const range = document.createRange();
  for (const word of text.data.matchAll(/\S+/g)) {
    range.setStart(text, word.index);
    range.setEnd(text, word.index + word[0].length);
    write(context, word[0], style, range.getBoundingClientRect());
  }
}

function write(context: Context, text: string, style: CSSStyleDeclaration, box: DOMRect): void {
  context.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
  context.fillStyle = style.color;
  context.textBaseline = "middle";
  context.fillText(text, box.left, box.top + box.height / 2);
}

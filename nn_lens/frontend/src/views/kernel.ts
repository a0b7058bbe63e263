/** The kernel lab on the panel's picture, with the selected unit's own filter among the kernels. */
import { say } from "../drawing/dom";
import { bitmap } from "../drawing/sheet";
import { valueAt } from "../drawing/tiles";
import { KernelLab, planeOf } from "../kernel_lab/lab";
import { PRESETS, type Preset } from "../kernel_lab/presets";
import type { Store } from "../panel/store";
import { phrase } from "../panel/words";
import { View } from "./view";

/** Pixels of the picture's longer side. */
const SIDE = 128;

export class KernelView extends View {
  private readonly lab: KernelLab;
  private drawn = "";
  private offered = "";
  private begun = false;

  constructor(store: Store) {
    super(store, "kernel", "kernel-lab");
    const sliding = { kernel: planeOf(PRESETS[0].kernel), stride: 1, padding: 0, rectified: false };
    this.lab = new KernelLab(sliding, store.colours.diverging);
    this.body.append(this.lab.root);
  }

  draw(): void {
    const { picture, moments } = this.store;
    this.empty(picture ? "" : this.noPicture());
    if (picture && picture.key !== this.drawn) {
      this.drawn = picture.key;
      void this.read(picture.data);
    }
    const preset = this.own();
    const key = `${preset?.name} ${moments.weights}`;
    if (key !== this.offered) {
      this.offered = key;
      this.lab.offer(preset ? [preset] : []);
      // It begins with the unit's own kernel; after that it is in the hands of whoever uses it.
      if (preset && !this.begun) this.lab.setKernel(preset.kernel);
      this.begun ||= preset !== null;
    }
    if (picture) say(this.note, preset ? "" : phrase("kernel.none"));
    this.root.dataset.shown = picture?.key ?? "";
  }

  /** The filter of the selected unit: of colours their sum, which is what it does to a grey picture; else its strongest slice. */
  private own(): Preset | null {
    const { store } = this;
    const { layer, channel } = store.selection;
    const stack = store.layer.filter ? store.answer("filters") : undefined;
    if (!stack || stack.height * stack.width === 1) return null;
    const { planes, height, width } = stack;
    const slice = (p: number) =>
      Array.from({ length: height }, (_, i) =>
        Array.from({ length: width }, (_, j) => valueAt(stack, channel, p, i, j)),
      );
    const slices = Array.from({ length: planes }, (_, p) => slice(p));
    if (stack.colour === "rgb") {
      const kernel = slices[0].map((row, i) => row.map((_, j) => slices.reduce((sum, s) => sum + s[i][j], 0)));
      return { name: phrase("kernel.ofColours", { unit: `${layer}:${channel}` }), kernel };
    }
    const size = slices.map((s) => s.flat().reduce((sum, v) => sum + v * v, 0));
    const p = size.indexOf(Math.max(...size));
    return { name: phrase("kernel.ofInput", { unit: `${layer}:${channel}`, input: p }), kernel: slices[p] };
  }

  private async read(data: DataView): Promise<void> {
    const image = await bitmap(data);
    if (!image) return;
    const scale = Math.min(1, SIDE / Math.max(image.width, image.height));
    const [width, height] = [Math.round(image.width * scale), Math.round(image.height * scale)];
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d");
    if (!context) return;
    context.drawImage(image, 0, 0, width, height);
    image.close();
    const { data: rgba } = context.getImageData(0, 0, width, height);
    const values = new Float32Array(width * height);
    for (let i = 0; i < values.length; i++)
      values[i] = (0.299 * rgba[4 * i] + 0.587 * rgba[4 * i + 1] + 0.114 * rgba[4 * i + 2]) / 255;
    this.lab.setPicture({ height, width, values });
  }
}

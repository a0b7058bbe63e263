/** The kernel lab as a widget of its own. */
import type { AnyModel } from "@anywidget/types";
import styles from "panel.css";
import { el } from "../drawing/dom";
import { keepKeys } from "../drawing/keys";
import { bytes, floats } from "../panel/protocol";
import { phrase } from "../panel/words";
import type { Sliding } from "./correlate";
import { KernelLab, planeOf, rowsOf } from "./lab";

/** Draws the widget; gives back how to end that. */
export function renderKernelLab(model: AnyModel, root: HTMLElement): () => void {
  const read = (): Sliding => ({
    kernel: planeOf(model.get("kernel")),
    stride: model.get("stride"),
    padding: model.get("padding"),
    rectified: model.get("rectified"),
  });
  const lab = new KernelLab(read(), bytes(model.get("_diverging")), (sliding) => {
    model.set("kernel", rowsOf(sliding.kernel));
    model.set("stride", sliding.stride);
    model.set("padding", sliding.padding);
    model.set("rectified", sliding.rectified);
    model.save_changes();
  });
  lab.offer(model.get("_filters"));
  const showPicture = () => {
    const { height, width, data } = model.get("_picture");
    lab.setPicture({ height, width, values: floats(data) });
  };
  showPicture();
  const label = { class: "nn-lens", role: "region", "aria-label": phrase("lab") };
  const panel = el("div", label, el("style", {}, styles), lab.root);
  keepKeys(panel);
  root.append(panel);
  const take = () => lab.take(read());
  const events = (["kernel", "stride", "padding", "rectified"] as const).map((name) => `change:${name}` as const);
  for (const event of events) model.on(event, take);
  model.on("change:_picture", showPicture);
  return () => {
    for (const event of events) model.off(event, take);
    model.off("change:_picture", showPicture);
    panel.remove();
  };
}

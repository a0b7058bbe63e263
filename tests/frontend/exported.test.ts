import assert from "node:assert/strict";
import { before, test } from "node:test";
import type { AnyModel } from "@anywidget/types";
import { StoredModel } from "../../nn_lens/frontend/src/exported";
import { Store } from "../../nn_lens/frontend/src/panel/store";
import { DECODERS } from "../../nn_lens/frontend/src/views";
import { frame, page, settle, traits } from "./fake";

before(page);

const empty = "AAAAAA==";
const message = (head: object) => ({
  head: { weights: 1, ...head },
  buffers: [empty, empty, empty, empty, empty, empty],
});
const pageOf = (first: number) => Array.from({ length: first < 24 ? 12 : 6 }, (_, i) => first + i);

const ANSWERS = [
  ...[0, 12, 24].map((first) => ({
    question: { what: "page", layer: "conv", channels: pageOf(first) },
    messages: [
      message({ type: "page", layer: "conv", channels: pageOf(first), step: 128, finished: true, activations: [] }),
    ],
  })),
  {
    question: { what: "attribution", picture: "picture 1", target: 0 },
    messages: [message({ type: "attribution", method: "saliency", target: "cat" })],
  },
  {
    question: { what: "blocks", layer: "conv", picture: "picture 1" },
    messages: [
      message({ type: "blocks", layer: "conv", units: [5, 28], drawn: 2 }),
      message({ type: "page", layer: "conv", channels: [5, 28], step: 128, finished: true, activations: [] }),
      message({ type: "blocks", layer: "conv", units: [5, 28], drawn: 2 }),
    ],
  },
  { question: { what: "filters", layer: "conv", start: 0, count: 30 }, error: "no filters" },
];

function exported(changes: Record<string, unknown> = {}): Store {
  const model = new StoredModel(
    traits({ _stored: true, _samples: [{ name: "cat", data: { bytes: "" }, own: true }], ...changes }),
    ANSWERS,
  );
  const store = new Store(model as unknown as AnyModel, DECODERS);
  store.subscribe(() => {});
  return store;
}

test("attribution is there in whatever order one comes to it", async () => {
  for (const units of [[], [4], [4, 3], [20, 3, 7]]) {
    const store = exported();
    await settle();
    for (const unit of units) {
      store.sight.select("conv", unit);
      await settle();
    }
    store.look.view = "evidence";
    await settle();
    assert.equal(store.failure("attribution"), "", `after ${units}`);
    assert.equal(store.answer("attribution")?.[0].method, "saliency");
    store.sight.select("conv", 9);
    store.sight.select("conv", 3);
    await settle();
    assert.equal(store.answer("attribution")?.length, 1);
  }
});

test("the pictures that building blocks are drawn with are there, before any page was looked at", async () => {
  const store = exported({ view: "blocks" });
  await settle();
  assert.deepEqual(store.answer("blocks")?.units, [5, 28]);
  assert.ok(store.imageOf("conv", 5) && store.imageOf("conv", 28));
});

test("what answers at a place has its pictures from the stored pages", async () => {
  const model = new StoredModel(traits({ _stored: true }), ANSWERS);
  const heard: Record<string, unknown>[] = [];
  model.on("msg:custom", (head) => heard.push(head as Record<string, unknown>));
  model.send({ type: "want", id: 1, what: "here", layer: "conv", channels: [29, 1] });
  await frame();
  await new Promise((done) => setTimeout(done, 5));
  assert.deepEqual(
    heard.map(({ type }) => type),
    ["page", "page", "done"],
  );
});

test("what was not stored says so, what failed says why, and the page goes on", async () => {
  const store = exported({ view: "evidence" });
  await settle();
  assert.match(store.failure("incoming"), /not in the exported file/);
  store.look.view = "filters";
  await settle();
  assert.equal(store.failure("filters"), "no filters");
  store.pictures.chooseSample("dog");
  assert.match(store.pictures.error, /not in the exported file/);
});

test("copied code names the sample picture and the compared network", () => {
  assert.equal(
    exported({ _compared: "yes" }).code(),
    'nl.Lens(net, unit="conv:3", picture=net.samples["cat"], compare=other)',
  );
});

import assert from "node:assert/strict";
import { before, test } from "node:test";
import { frame, opened, page, settle } from "./fake";

before(page);

const other = {
  name: "Other",
  input: [3, 64, 64],
  layers: [
    { name: "a", kind: "Conv2d", shape: [4, 32, 32], channels: 4, grid: [32, 32], filter: [3, 3, 3] },
    { name: "b", kind: "Linear", shape: [10], channels: 10, grid: [1, 1], filter: null },
  ],
};

function pair() {
  const first = opened({ _compared: "other" });
  const counterparts = { conv: "a", relu: "a", deep: "b" };
  const second = opened(
    { _network: other, _counterparts: counterparts, _selection: { layer: "a", channel: 3 } },
    first.store,
  );
  return { first, second };
}

test("the second network looks where the first does, in its own layers", () => {
  const { first, second } = pair();
  first.store.sight.select("conv", 29);
  assert.deepEqual(second.store.selection, { layer: "a", channel: 3, row: null, column: null }, "its last channel");
  first.store.sight.select("deep", 7);
  assert.deepEqual(second.store.selection, { layer: "b", channel: 7, row: null, column: null });
});

test("a selection in the second moves the first, and stays at the layer that was looked at", () => {
  const { first, second } = pair();
  first.store.sight.select("relu", 0);
  second.store.sight.select("a", 2);
  assert.equal(first.store.selection.layer, "relu", "two layers have the same counterpart");
  assert.equal(first.store.selection.channel, 2);
  second.store.sight.select("b", 1);
  assert.equal(first.store.selection.layer, "deep");
});

test("a place is one, each network has its own neuron there", async () => {
  const { first, second } = pair();
  second.store.sight.lockAt({ row: 31, column: 0 });
  assert.deepEqual(second.store.sight.neuron(), { row: 31, column: 0 });
  // (31.5 / 32) * 16 - .5 = 15.25 and (.5 / 32) * 24 - .5 = -.1
  assert.deepEqual(first.store.sight.neuron(), { row: 15, column: 0 });
  await settle();
  assert.ok(first.model.wants("field").length === 1 && second.model.wants("field").length === 1);
});

test("both ask for themselves, and only the first tells Python", async () => {
  const { first, second } = pair();
  await settle();
  assert.equal(first.model.wants("maps")[0].layer, "conv");
  assert.equal(second.model.wants("maps")[0].layer, "a");
  second.model.traits._selection = "untouched";
  first.store.sight.select("conv", 1);
  await frame();
  await new Promise((done) => setTimeout(done, 60));
  assert.equal(second.model.traits._selection, "untouched");
});

test("layers of other names have no colours in common, and an end leaves the first alone", () => {
  const { first, second } = pair();
  assert.equal(first.store.look.colourScale.mode, "own");
  second.store.close();
  assert.equal(first.store.peer, null);
  first.store.sight.select("conv", 4);
  assert.equal(first.store.selection.channel, 4);
});

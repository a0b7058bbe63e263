import assert from "node:assert/strict";
import { before, test } from "node:test";
import { counted, Tree } from "../../nn_lens/frontend/src/finding/tree";
import { pageNumber, pageOf } from "../../nn_lens/frontend/src/panel/questions";
import { cut, unitName } from "../../nn_lens/frontend/src/panel/words";
import { opened, page, settle } from "./fake";

before(page);

const leaf = (name: string, kind = "Conv2d") => ({ name, kind, shape: [8, 4, 4], parameters: 10 });
const leaves = [
  leaf("stem"),
  leaf("block1.conv"),
  leaf("block1.relu", "ReLU"),
  leaf("block1", "Residual"),
  leaf("block2.deep.conv"),
  leaf("head", "Linear"),
];

test("layers stand in the tree of their modules, which fold", () => {
  const tree = new Tree(leaves);
  const lines = (folded: string[] = [], question = "") =>
    tree.rows(new Set(folded), question).map(({ path, depth, leaf: own }) => `${depth} ${path}${own ? "" : " -"}`);
  assert.deepEqual(lines(), [
    "0 stem",
    "0 block1",
    "1 block1.conv",
    "1 block1.relu",
    "0 block2 -",
    "1 block2.deep -",
    "2 block2.deep.conv",
    "0 head",
  ]);
  assert.deepEqual(lines(["block1", "block2.deep"]), ["0 stem", "0 block1", "0 block2 -", "1 block2.deep -", "0 head"]);
  assert.deepEqual(lines(["block1"], "relu"), ["0 block1", "1 block1.relu"], "a search looks into what is folded");
  assert.deepEqual(lines([], "conv2d deep"), ["0 block2 -", "1 block2.deep -", "2 block2.deep.conv"]);
  assert.deepEqual(lines([], "8x4x4 linear"), ["0 head"]);
  assert.deepEqual(lines([], "moon"), []);
  assert.deepEqual(tree.groups.sort(), ["block1", "block2", "block2.deep"]);
  assert.deepEqual(tree.above("block2.deep.conv"), ["block2", "block2.deep"]);
});

test("a tree of 330 layers is laid out within a frame", () => {
  const many = Array.from({ length: 330 }, (_, i) => leaf(`layer${i % 4}.${Math.floor(i / 12)}.conv${i}`));
  const tree = new Tree(many);
  const began = process.hrtime.bigint();
  for (let i = 0; i < 10; i++) tree.rows(new Set());
  assert.ok(Number(process.hrtime.bigint() - began) / 1e6 < 160, "16 ms each");
});

test("words: parameters, names that are cut, names of classes", () => {
  assert.equal(counted(1234), "1,234");
  assert.equal(counted(51_800), "52 k");
  assert.equal(counted(1_230_000), "1.2 M");
  assert.equal(cut("feature_extraction_backbone.conv2", 16), "featu…bone.conv2".slice(0, 6) + "bone.conv2");
  assert.equal(cut("short", 16), "short");
  const network = { labels: ["cat", "dog"], layers: [{ name: "a" }, { name: "z", classes: true }] };
  assert.equal(unitName(network as never, "z", 1), "1 · dog");
  assert.equal(unitName(network as never, "a", 1), "1");
});

test("pages follow the order of the units", () => {
  const layer = { name: "a", channels: 26 } as never;
  const order = Array.from({ length: 26 }, (_, i) => 25 - i);
  assert.deepEqual(pageOf(layer, 25, order), [25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14]);
  assert.deepEqual(pageOf(layer, 0, order), [1, 0]);
  assert.deepEqual(pageNumber(layer, 24), [2, 3]);
});

test("units go by strength once that is their order and the maps are here", async () => {
  const { model, store } = opened();
  await settle();
  assert.deepEqual(store.order.all().slice(0, 3), [0, 1, 2]);
  store.look.see({ order: "strongest" });
  assert.equal(store.order.ranked, null, "the maps are not here");
  const floats = (numbers: number[]) => new Float32Array([...numbers, ...new Array(60).fill(0)]).buffer;
  const largest = [1, 5, 3, ...new Array(27).fill(0)];
  const head = { layer: "conv", start: 0, count: 30, total: 30, planes: 1, height: 1, width: 1, colour: "sequential" };
  const [{ id }] = model.wants("maps");
  const rest = [floats([]), floats([]), floats([])];
  model.says({ type: "maps", id, weights: 1, ...head }, new ArrayBuffer(64), floats([]), floats(largest), ...rest);
  assert.deepEqual(store.order.all().slice(0, 4), [1, 2, 0, 3]);
  assert.equal(store.order.neighbour(-1), 0, "before unit 3 stands unit 0");
  assert.equal(store.order.at(2), 1);
  assert.equal(store.order.unit(99), 29);
});

test("the nearest layer with filters is the one before", async () => {
  const { store } = opened();
  store.sight.select("relu", 0);
  assert.equal(store.sight.withFilters()?.name, "conv");
  store.sight.select("deep", 0);
  assert.equal(store.sight.withFilters()?.name, "deep");
});

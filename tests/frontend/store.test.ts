import assert from "node:assert/strict";
import { before, test } from "node:test";
import { FakeImage, frame, opened, page, settle } from "./fake";

before(page);

const stack = { layer: "conv", start: 0, count: 30, total: 30, planes: 1, height: 1, width: 1, colour: "sequential" };

test("what the shown views need is asked once", async () => {
  const { model } = opened();
  await settle();
  for (const what of ["maps", "filters", "scores", "page", "negative"]) assert.equal(model.wants(what).length, 1, what);
  for (const what of ["field", "arithmetic", "here", "attribution", "blocks", "trust"])
    assert.equal(model.wants(what).length, 0, `${what} belongs to another tab, or to a place`);
});

test("a storm of selections becomes one question, and the last selection is told to Python", async () => {
  const { model, store } = opened();
  await settle();
  const [first] = model.wants("maps");
  for (let i = 0; i < 200; i++) store.sight.selectLayer(i % 3);
  store.sight.select("deep", 5);
  await frame(1);
  assert.equal(model.wants("maps").length, 1, "the last question has not ended");
  model.answers(first, stack);
  await settle();
  assert.deepEqual(
    model.wants("maps").map(({ layer }) => layer),
    ["conv", "deep"],
  );
  await new Promise((done) => setTimeout(done, 60));
  assert.deepEqual(model.traits._selection, { layer: "deep", channel: 5, row: null, column: null });
});

test("a question whose answer got lost is asked again after a while", async () => {
  const { model, store } = opened();
  await settle();
  store.sight.select("deep", 5);
  await frame(1000);
  assert.equal(model.wants("maps").length, 1);
  store.changed();
  await frame(2000);
  assert.equal(model.wants("maps").length, 2);
});

test("what takes long is asked for once the selection rests, and left pages are stopped", async () => {
  const { model, store } = opened();
  await frame(1000);
  await settle();
  const asked = model.wants("page").length;
  store.sight.select("conv", 15);
  await frame(1);
  assert.equal(model.wants("page").length, asked, "it moves");
  assert.equal(model.sent.filter(({ type, what }) => type === "stop" && what === "page").length, 1);
  await new Promise((done) => setTimeout(done, 80));
  await settle();
  assert.equal(model.wants("page").length, asked + 1);
});

test("an answer that comes late is kept under its own question, one that comes twice changes nothing", async () => {
  const { model, store } = opened();
  await settle();
  const [first] = model.wants("filters");
  store.sight.select("deep", 2);
  model.says(
    { type: "filters", id: first.id, weights: 1, ...stack },
    ...[1, 2, 3, 4, 5, 6].map(() => new ArrayBuffer(256)),
  );
  assert.equal(store.answer("filters"), undefined, "it is of another layer");
  model.says({ type: "done", id: first.id, what: "filters", weights: 1 });
  store.sight.select("conv", 2);
  assert.equal(store.answer("filters")?.layer, "conv");
  const kept = store.answer("filters");
  model.says({ type: "filters", id: first.id, weights: 1, ...stack, layer: "again" });
  assert.equal(store.answer("filters"), kept, "the question has ended");
});

test("older frames never take the place of newer ones", async () => {
  const { model, store } = opened();
  await settle();
  const [asked] = model.wants("page");
  const waits = [30, 1, 1];
  const usual = FakeImage.milliseconds;
  FakeImage.milliseconds = () => waits.shift() ?? 0;
  const activations = asked.channels.map(() => 1);
  for (const step of [1, 2, 3])
    model.says(
      { type: "page", id: asked.id, weights: 1, layer: "conv", channels: asked.channels, activations, step, finished: step === 3 },
      new ArrayBuffer(4),
    );
  await new Promise((done) => setTimeout(done, 80));
  FakeImage.milliseconds = usual;
  assert.equal(store.answer("page")?.step, 3);
});

test("unfinished pages are acknowledged, each once", async () => {
  const { model } = opened();
  await settle();
  const [asked] = model.wants("page");
  const head = { type: "page", id: asked.id, weights: 1, layer: "conv", channels: asked.channels, activations: [] };
  model.says({ ...head, step: 1, finished: false }, new ArrayBuffer(4));
  await settle();
  model.says({ ...head, step: 2, finished: true }, new ArrayBuffer(4));
  await settle();
  assert.equal(model.sent.filter(({ type }) => type === "ack").length, 1);
});

test("the selected unit's image counts once it is finished, whatever is left of its page", async () => {
  const { model, store } = opened();
  await settle();
  const [asked] = model.wants("page");
  const activations = (asked.channels as number[]).map((channel) => 10 + channel);
  const head = { type: "page", id: asked.id, weights: 1, layer: "conv", channels: asked.channels, activations };
  const { channel } = store.selection;
  const cases: [made: number[], reached: number | undefined][] = [
    [[], undefined],
    [[channel + 1], undefined],
    [[channel + 1, channel], 10 + channel],
  ];
  for (const [made, reached] of cases) {
    model.says({ ...head, step: 1, finished: false, made }, new ArrayBuffer(4));
    await settle();
    assert.equal(store.reached(), reached);
  }
});

test("other weights: answers of the old ones are not shown, and come back with them", async () => {
  const { model, store } = opened();
  await settle();
  model.answers(model.wants("filters")[0], stack);
  const old = store.answer("filters");
  model.sets("_steps", [{ step: 0, weights: 1 }]);
  model.sets("_weights", 2);
  assert.equal(store.answer("filters"), undefined);
  await settle();
  assert.equal(model.wants("filters").length, 2);
  model.sets("step", 0);
  assert.equal(store.answer("filters"), old, "step 0 was recorded");
});

test("an answer of newer weights says that a cell has changed the model", async () => {
  const { model, store } = opened();
  await settle();
  const [asked] = model.wants("filters");
  model.says(
    { type: "filters", id: asked.id, weights: 2, ...stack },
    ...[1, 2, 3, 4, 5, 6].map(() => new ArrayBuffer(256)),
  );
  assert.equal(store.moments.weights, 2);
  assert.equal(store.answer("filters")?.layer, "conv");
});

test("an answer of weights that are gone is asked for again, not shown", async () => {
  const { model, store } = opened();
  await settle();
  const [asked] = model.wants("filters");
  model.sets("_weights", 2);
  model.answers({ ...asked, weights: 1 }, stack);
  assert.equal(store.answer("filters"), undefined);
  await settle();
  assert.equal(model.wants("filters").length, 2);
});

test("a failure is said, and tried again by coming back", async () => {
  const { model, store } = opened();
  await settle();
  const [asked] = model.wants("filters");
  model.says({ type: "error", id: asked.id, what: "filters", text: "no filters here" });
  assert.equal(store.failure("filters"), "no filters here");
  await settle();
  assert.equal(model.wants("filters").length, 1, "it is not asked in a circle");
  store.sight.select("deep", 0);
  store.sight.select("conv", 0);
  assert.equal(store.failure("filters"), "");
  await frame(3000);
  assert.equal(model.wants("filters").filter(({ layer }) => layer === "conv").length, 2);
});

test("an answer that Python is about to give is not asked for", async () => {
  const { model, store } = opened();
  await settle();
  model.answers(model.wants("maps")[0], stack);
  model.says({
    type: "expect",
    id: -1,
    what: "maps",
    weights: 1,
    picture: "picture 2",
    layer: "conv",
    start: 0,
    count: 30,
  });
  model.sets("_picture", { key: "picture 2", name: "", data: new DataView(new ArrayBuffer(0)) });
  await settle();
  assert.equal(model.wants("maps").length, 1);
  model.answers({ type: "want", id: -1, what: "maps" }, stack);
  assert.equal(store.answer("maps")?.layer, "conv");
});

test("methods of an attribution come one after the other", async () => {
  const { model, store } = opened({ view: "evidence" });
  await settle();
  const [asked] = model.wants("attribution");
  assert.equal(asked.target, 0);
  model.answers(asked, { method: "a", target: "cat" }, { method: "b", target: "cat" });
  await settle();
  assert.deepEqual(
    store.answer("attribution")?.map(({ method }) => method),
    ["a", "b"],
  );
  store.sight.select("conv", 9);
  assert.equal(store.answer("attribution")?.length, 2, "a class is not about the unit");
});

test("trust is asked for on demand", async () => {
  const { model, store } = opened({ view: "evidence" });
  await settle();
  assert.equal(model.wants("trust").length, 0);
  store.asking.demand("trust");
  await settle();
  assert.equal(model.wants("trust").length, 1);
  assert.ok(store.isAsked("trust"));
});

test("a page that was stopped stays stopped until it goes on, or another is looked at", async () => {
  const { model, store } = opened();
  await settle();
  store.asking.stop("page");
  await settle();
  assert.ok(store.asking.isStopped("page"));
  assert.equal(model.wants("page").length, 1);
  store.asking.goOn("page");
  await settle();
  assert.equal(model.wants("page").length, 2);
  store.asking.stop("page");
  store.sight.select("conv", 20);
  assert.ok(!store.asking.isStopped("page"));
});

test("a locked place makes the selection a neuron, which Python is told of", async () => {
  const { model, store } = opened();
  await settle();
  store.look.lock({ y: 0.5, x: 0.25 });
  // Rows .5 * 16 - .5 = 7.5 and columns .25 * 24 - .5 = 5.5, rounded.
  assert.deepEqual(store.selection, { layer: "conv", channel: 3, row: 8, column: 6 });
  await new Promise((done) => setTimeout(done, 60));
  assert.deepEqual(model.traits._selection, store.selection);
  await settle();
  assert.equal(model.wants("field").length, 1);
  model.answers(model.wants("field")[0], { size: [5, 5], stride: [2, 2], offset: [-2, -2] });
  // Pixel 16 of 32: (16 + 2 - 2.5) / 2 = 7.75; pixel 12 of 48: (12 + 2 - 2.5) / 2 = 5.75.
  assert.deepEqual(store.selection, { layer: "conv", channel: 3, row: 8, column: 6 });
  model.sets("_selection", { layer: "conv", channel: 3, row: 2, column: 20 });
  assert.deepEqual(store.sight.neuron(), { row: 2, column: 20 });
  // Row 2: (-2 + 2 * 2 + 5 / 2) of 32 pixels; column 20: (-2 + 20 * 2 + 5 / 2) of 48.
  assert.deepEqual(store.look.place, { y: 4.5 / 32, x: 40.5 / 48 });
  store.look.unlock();
  assert.equal(store.selection.row, null);
});

test("what Python selects is not told back to it", async () => {
  const { model, store } = opened();
  await settle();
  model.sets("_selection", { layer: "deep", channel: 7, row: null, column: null });
  assert.equal(store.selection.layer, "deep");
  model.traits._selection = "untouched";
  await new Promise((done) => setTimeout(done, 60));
  assert.equal(model.traits._selection, "untouched");
});

test("copied code makes the view again", () => {
  const { store } = opened();
  assert.equal(store.code(), 'nl.Lens(net, unit="conv:3", picture=net.samples["cat"])');
  const pair = opened({ _compared: "x", view: "evidence", _picture: null });
  assert.equal(pair.store.code(), 'nl.Lens(net, unit="conv:3", view="evidence", compare=other)');
});

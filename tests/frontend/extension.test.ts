import assert from "node:assert/strict";
import { test } from "node:test";
import type { Net } from "../../nn_lens/frontend/src/jupyterlab/asking";
import { codeFor, folderOf, nameOf, pathFrom, pythonText } from "../../nn_lens/frontend/src/jupyterlab/files";
import { Rows } from "../../nn_lens/frontend/src/jupyterlab/side/rows";

const net = (name: string, layers: string[]): Net => ({
  name,
  kind: "module",
  of: "ResNet",
  model: "1",
  parameters: 1,
  device: "cpu",
  training: false,
  layers: layers.map((layer) => [layer, layer.endsWith("relu") ? "ReLU" : "Conv2d", [4, 3], 12]),
});
const told = (rows: Rows) => rows.lines.map(({ net: { name }, row }) => (row ? `  ${row.path}` : name));

test("the first network is unfolded, and what was folded stays so with a new answer", () => {
  const rows = new Rows();
  rows.take([net("model", ["stem", "block.conv", "block.relu"]), net("other", ["stem"])]);
  assert.deepEqual(told(rows), ["model", "  stem", "  block", "  block.conv", "  block.relu", "other"]);
  rows.fold(rows.lines[2]);
  rows.fold(rows.lines[rows.lines.length - 1]);
  assert.deepEqual(told(rows), ["model", "  stem", "  block", "other", "  stem"]);
  rows.take([net("model", ["stem", "block.conv", "block.relu"]), net("other", ["stem", "head"])]);
  assert.deepEqual(told(rows), ["model", "  stem", "  block", "other", "  stem", "  head"]);
  assert.equal(rows.reveal(rows.lines[0].net, "block.relu"), 4);
});

test("a search looks into all networks, folded or not, and at their names", () => {
  const rows = new Rows();
  rows.take([net("model", ["stem", "block.relu"]), net("other", ["conv", "deep.relu"]), net("third", ["a"])]);
  rows.search("relu");
  assert.deepEqual(told(rows), ["model", "  block", "  block.relu", "other", "  deep", "  deep.relu"]);
  rows.search("third");
  assert.deepEqual(told(rows), ["third"]);
  rows.search("");
  assert.deepEqual(told(rows), ["model", "  stem", "  block", "  block.relu", "other", "third"]);
});

test("a network of more than eighty layers begins with its modules folded", () => {
  const rows = new Rows();
  rows.take([net("large", Array.from({ length: 516 }, (_, i) => `layer${i % 4}.${Math.floor(i / 12)}.conv${i}`))]);
  assert.deepEqual(told(rows), ["large", "  layer0", "  layer1", "  layer2", "  layer3"]);
});

test("the way from a notebook's folder to a file, and texts as Python writes them", () => {
  assert.equal(pathFrom("", "net.pt"), "net.pt");
  assert.equal(pathFrom("a/b", "a/b/net.pt"), "net.pt");
  assert.equal(pathFrom("a/b", "a/c/net.pt"), "../c/net.pt");
  assert.equal(pathFrom("a/b", "net.pt"), "../../net.pt");
  assert.equal(pathFrom("net.pt", "net.pt/weights.pt"), "weights.pt");
  assert.equal(folderOf("a/b/net.pt"), "a/b");
  assert.equal(folderOf("net.pt"), "");
  assert.equal(nameOf("a/b/net.pt"), "net.pt");
  assert.equal(pythonText('a "b" \\ ü'), '"a \\"b\\" \\\\ ü"');
});

test("a panel's code names the network that its cell names, and leaves texts alone", () => {
  const code = 'nl.Lens(net, unit="net.0:3", picture=net.samples["net"])';
  const named = (net: string) => `nl.Lens(${net}, unit="net.0:3", picture=${net}.samples["net"])`;
  assert.equal(codeFor("import nn_lens as nl\n\nnl.Lens(model)", code), named("model"));
  assert.equal(codeFor("nl.Lens( nets[0], unit='a:1')", code), named("nets[0]"));
  const made = 'nl.Network(model, input_shape=(3, 32, 32), labels=["a)", "b"])';
  assert.equal(codeFor(`nl.Lens(\n  ${made},\n  dataset=data,\n)`, code), named(made));
  assert.equal(codeFor("nl.Lens(net=model)", code), code, "a keyword may stand anywhere");
  assert.equal(codeFor("show(model)", code), code);
  assert.equal(codeFor("nl.Lens(", code), code);
});

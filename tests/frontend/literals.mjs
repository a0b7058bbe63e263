/**
 * Lists what a panel would say that does not stand in the catalogue: literals of a program that people could read.
 * A literal is none if the type that is expected there names its values, or if it stands where only the browser reads it.
 * Usage: node literals.mjs FRONTEND FILE...; one line for each: file:line and the text.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, relative } from "node:path";

const [frontend, ...files] = process.argv.slice(2);
const ts = createRequire(join(frontend, "package.json"))("typescript");

/** Functions and methods whose arguments are names for the browser: by number of the argument, or all. */
const TECHNICAL = {
  addEventListener: [0],
  removeEventListener: [0],
  createElement: [0],
  createElementNS: [0, 1],
  getContext: [0],
  querySelector: [0],
  querySelectorAll: [0],
  closest: [0],
  matches: [0],
  add: [0],
  toggle: [0],
  toggleAttribute: [0],
  remove: [0],
  getPropertyValue: [0],
  setProperty: [0, 1],
  removeAttribute: [0],
  execCommand: [0],
  contains: [0],
  replace: [1],
  listen: [0],
  write: [0],
  tell: [0],
  shape: [0],
  join: [0],
  split: [0],
  startsWith: [0],
  endsWith: [0],
  includes: [0],
  indexOf: [0],
  lastIndexOf: [0],
  toLocaleString: [0],
  get: [0],
  set: [0],
  on: [0],
  off: [0],
  text: [0],
  CustomEvent: [0],
  Function: [0],
  // JupyterLab's: its translator, and the names of commands, settings and messages.
  __: [0],
  load: [0],
  execute: [0],
  hasCommand: [0],
  ask: [1],
  addClass: [0],
};
/** Attributes and fields that only the browser reads. */
const UNREAD = /^(data-.*|class|className|style|type|role|draggable|decoding|scope|accept|src|href|id|tabindex|step|viewBox|preserveAspectRatio|value|font|fillStyle|strokeStyle|textBaseline|aria-(hidden|pressed|expanded|disabled|controls|activedescendant|live|haspopup|selected|setsize|posinset|atomic)|background|color|top|left|width|height|maxWidth|aspectRatio|transform|paddingLeft)$/;

const { config } = ts.readConfigFile(join(frontend, "tsconfig.json"), ts.sys.readFile);
const { options } = ts.parseJsonConfigFileContent(config, ts.sys, frontend);
const program = ts.createProgram(files, { ...options, noEmit: true });
const checker = program.getTypeChecker();

/** Colours, selectors, addresses, kinds of files, and Python. */
const CODE = /^(#|\.|[\w.-]+\(|https?:|data:|image\/|currentColor$|\w+\.$)|\w=/;

const catalogue = JSON.parse(readFileSync(join(frontend, "../widgets/strings.json"), "utf8"));
const phrases = catalogue.phrases;
const used = new Set();

/** Whether an expected type names its values, as "at rest" | "at once" does. */
function isNamed(type) {
  if (!type) return false;
  if (type.isUnion()) return type.types.some((each) => each.isStringLiteral()) && !type.types.some((each) => each.flags & ts.TypeFlags.String);
  return type.isStringLiteral() || (type.flags & ts.TypeFlags.TemplateLiteral) !== 0;
}

function nameOf(node) {
  if (ts.isIdentifier(node) || ts.isStringLiteral(node) || ts.isPrivateIdentifier(node)) return node.text;
  return ts.isPropertyAccessExpression(node) ? node.name.text : "";
}

/** Whether only the browser, or another part of the program, reads what stands here. */
function isTechnical(node) {
  for (let [child, at] = [node, node.parent]; at; [child, at] = [at, at.parent]) {
    if (ts.isImportDeclaration(at) || ts.isExportDeclaration(at) || ts.isTypeNode(at)) return true;
    if (ts.isAsExpression(at) && at.type.getText() === "const") return true;
    // What tests read off the page, and lists that something is looked up in.
    if (ts.isMethodDeclaration(at) && nameOf(at.name) === "shown") return true;
    if (ts.isPropertyAccessExpression(at) && nameOf(at) === "includes" && at.expression === child) return true;
    if (ts.isCaseClause(at) || ts.isElementAccessExpression(at)) return at.expression === child || at.argumentExpression === child;
    if (ts.isBinaryExpression(at)) {
      const sign = at.operatorToken.getText();
      if (/^([!=]==?|in|<|>)$/.test(sign)) return true;
      if (sign === "=" && at.right === child)
        return UNREAD.test(nameOf(at.left)) || /\.(style|dataset)\b/.test(at.left.getText()) || isNamed(checker.getTypeAtLocation(at.left));
    }
    if ((ts.isPropertyAssignment(at) || ts.isPropertyDeclaration(at)) && (at.name === child || UNREAD.test(nameOf(at.name)))) return true;
    if (ts.isCallExpression(at) || ts.isNewExpression(at)) {
      const name = nameOf(at.expression);
      const index = at.arguments.indexOf(child);
      if (name === "setAttribute" || name === "setAttributeNS") {
        const key = at.arguments.length - 2;
        return index <= key || UNREAD.test(nameOf(at.arguments[key]));
      }
      if (index >= 0 && Object.hasOwn(TECHNICAL, name) && TECHNICAL[name].includes(index)) return true;
      if (index === 0 && name === "el") return true;
    }
    if (ts.isFunctionLike(at)) return false;
  }
  return false;
}

const found = [];

/** The names in braces of a text of the catalogue. */
function namesIn(text) {
  return [...text.matchAll(/\{(\w+)[|}]/g)].map(([, name]) => name);
}

/** A call of `phrase` gives each name in braces a value. */
function checkValues(call, where) {
  const [first, values] = call.arguments;
  const keys = [];
  const collect = (node) => {
    if (ts.isStringLiteralLike(node) && Object.hasOwn(phrases, node.text)) keys.push(node.text);
    else if (ts.isConditionalExpression(node)) [node.whenTrue, node.whenFalse].forEach(collect);
  };
  if (first) collect(first);
  const type = values && checker.getTypeAtLocation(values);
  const given = new Set(type?.getProperties().map(({ name }) => name) ?? []);
  for (const key of keys)
    for (const name of namesIn(phrases[key])) if (!given.has(name)) found.push(`${where}: ${key} has no {${name}}`);
}

function visit(node, file) {
  const text = ts.isStringLiteralLike(node) || ts.isTemplateHead(node) || ts.isTemplateMiddle(node) || ts.isTemplateTail(node);
  if (text && /\p{L}{2}/u.test(node.text)) {
    const whole = ts.isStringLiteralLike(node) ? node : ts.isTemplateHead(node) ? node.parent : node.parent.parent;
    const named = isNamed(checker.getContextualType(whole));
    const isKey = Object.hasOwn(phrases, node.text) && (named || node.text.includes("."));
    if (isKey) used.add(node.text);
    else if (named && ts.isTemplateHead(node)) for (const key of Object.keys(phrases)) if (key.startsWith(node.text)) used.add(key);
    if (!isKey && !named && !CODE.test(node.text) && !isTechnical(whole)) {
      const { line } = file.getLineAndCharacterOfPosition(node.getStart(file));
      found.push(`${relative(frontend, file.fileName)}:${line + 1}: ${node.text}`);
    }
  }
  if (ts.isCallExpression(node) && nameOf(node.expression) === "phrase") {
    const { line } = file.getLineAndCharacterOfPosition(node.getStart(file));
    checkValues(node, `${relative(frontend, file.fileName)}:${line + 1}`);
  }
  ts.forEachChild(node, (child) => visit(child, file));
}
for (const name of files) visit(program.getSourceFile(name), program.getSourceFile(name));
for (const key of Object.keys(phrases)) if (!used.has(key)) found.push(`strings.json: nothing says ${key}`);
console.log(found.join("\n"));

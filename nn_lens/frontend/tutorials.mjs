/** Puts the notebooks that lead through nn-lens into one file, which the extension loads when one of them is opened. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";

const [from, to] = ["../../notebooks", "src/jupyterlab/tutorials.json"];
const names = readdirSync(from).filter((name) => /^0\d_.*\.ipynb$/.test(name)).sort();
const all = names.map((name) => [name.replace(".ipynb", ""), JSON.parse(readFileSync(`${from}/${name}`, "utf8"))]);
writeFileSync(to, JSON.stringify(Object.fromEntries(all)));

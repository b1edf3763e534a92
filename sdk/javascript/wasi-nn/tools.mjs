// Steps of a project's build, for Node.js. A guest has nothing of this file.
//
//   node tools.mjs need COMMAND...                 ends with a line that says what to install, if a command isn't here
//   node tools.mjs mark GUEST LANGUAGE PACKAGE...  has the guest tell its making: its language, and the npm packages
//                                                  that built it. `wasi-nn inspect` shows it

import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { delimiter, dirname, join, resolve } from 'node:path';

const SDK = 'wasi-nn for JavaScript 0.1.0';
const SECTION = 'wasi_nn_sdk';

function need(commands) {
  const folders = (process.env.PATH ?? '').split(delimiter);
  const isHere = (command) => folders.some((it) => existsSync(join(it, command)) || existsSync(join(it, command + '.cmd')));
  if (commands.every(isHere)) return;
  console.error("the build needs what isn't here: npm install");
  process.exit(1);
}

function mark(guest, language, packages) {
  const lines = [`sdk ${SDK}`, `language ${language}`, ...packages.map((it) => `processed-by ${it} ${versionOf(it)}`)];
  const content = Buffer.concat([sized(Buffer.from(SECTION)), Buffer.from(lines.map((it) => it + '\n').join(''))]);
  appendFileSync(guest, Buffer.concat([Buffer.of(0), sized(content)])); // a custom section may be the last one
}

/** The version of a package in the nearest node_modules. */
function versionOf(name, folder = resolve('.')) {
  const manifest = join(folder, 'node_modules', name, 'package.json');
  if (existsSync(manifest)) return JSON.parse(readFileSync(manifest, 'utf8')).version;
  return dirname(folder) === folder ? '' : versionOf(name, dirname(folder));
}

/** Bytes after their number in LEB128. */
function sized(bytes) {
  const size = [];
  let left = bytes.length;
  for (; left >= 0x80; left >>>= 7) size.push((left & 0x7f) | 0x80);
  return Buffer.concat([Buffer.from([...size, left]), bytes]);
}

const [action, ...words] = process.argv.slice(2);
if (action === 'need') need(words);
else mark(words[0], words[1], words.slice(2));

// The extensions: descriptions, signatures, variables, byte strings and sequences.
//
// The host has the graphs `types` (as for `tour`), `learner`, which learns a factor, `echo`, which gives strings back,
// and `speller`, which spells a word letter by letter and fails at `?`.

import { Graph, Tensor, decode, encode } from '../wasi-nn/ext.js';
import { command, print } from '../wasi-nn/wasi.js';

export const run = command(() => {
  named();
  learner();
  strings();
  spelling();
});

function named() {
  const inputs = {
    i64: new Tensor([2], BigInt64Array.of(7n, -8n)),
    f16: new Tensor([2], new Uint16Array(2), 'f16'),
    u8: new Tensor([2], Uint8Array.of(5, 6)),
    f32: new Tensor([2], Float32Array.of(1, 2)),
    f64: new Tensor([2], Float64Array.of(3, 4)),
    i32: new Tensor([2], Int32Array.of(3, 4)),
  };
  using graph = Graph.loadByName('types');
  using context = graph.context();
  for (const [name, tensor] of context.computeNamed(inputs)) {
    print(`${name}: ${tensor.type} ${list(tensor.dims)}, ${tensor.bytes.length} bytes`);
  }
  const unknown = { none: new Tensor([1], Uint8Array.of(1)) };
  print(`unknown input: ${code(() => context.computeNamed(unknown))}`);
  for (const [name, tensor] of Object.entries(inputs)) context.setInputNamed(name, tensor);
  context.compute();
  const { name, tensor } = context.outputTensor(5);
  print(`by name: ${name} ${list(tensor.array())}`);
  print(`of another type: ${code(() => tensor.array('f64'))}`);
}

function learner() {
  using graph = Graph.loadByName('learner');
  show(graph.describe());
  print(`unknown signature: ${code(() => graph.useSignature('none'))}`);
  using trained = graph.useSignature('train');
  using training = trained.context();
  print(`train: ${learn(training, [1, 2])}`);
  const state = graph.state();
  print(`state: ${state.length} bytes`);
  print(`train: ${learn(training, [1, 2])}`);
  print(`infer: ${infer(graph)}`);
  graph.setState(state);
  print(`restored: ${infer(graph)}`);
  print(`bad state: ${code(() => graph.setState(encode('no state')))}`);
  using echo = Graph.loadByName('echo');
  print(`no state: ${code(() => echo.state())}`);
}

function infer(graph) {
  using context = graph.context();
  return learn(context, [1, 1]);
}

function learn(context, x) {
  context.setInputAt(0, 'x', new Tensor([2], Float32Array.from(x)));
  context.compute();
  return list(context.output(0, 'f32'));
}

function show(description) {
  print(`${description.encoding} on ${description.runtime} (${description.device})`);
  print(`signature ${description.signature} of ${description.signatures.join(', ')}`);
  for (const tensor of description.inputs) showTensor('input', tensor);
  for (const tensor of description.outputs ?? []) showTensor('output', tensor);
  for (const [key, text] of description.metadata) print(`${key}: ${text}`);
}

function showTensor(what, { name, elements, type, dims }) {
  const shown = type ?? (elements === 'byte-string' ? 'byte strings' : 'any numbers');
  print(`${what} ${name}: ${shown} [${dims ? dims.map((dim) => dim ?? '?').join(', ') : '...'}]`);
}

function strings() {
  using graph = Graph.loadByName('echo');
  using context = graph.context();
  showTensor('input', graph.describe().inputs[0]);
  context.setStringsAt(0, 'x', [3], ['ab', new Uint8Array(), '\u00e9']);
  context.compute();
  print(`strings: ${context.strings(0).map((it) => `'${decode(it)}'`).join(' ')}`);
  context.setStringsAt(0, 'x', [2], ['a', 'b', 'c']); // three, where the dims say two
  print(`wrong number: ${code(() => context.compute())}`);
}

function spelling() {
  using graph = Graph.loadByName('speller');
  using context = graph.context();
  print(`sequence: ${spell(context, 'abc')}`);
  print(`failing: ${spell(context, 'd?')}`);
  context.setInputAt(0, 'prompt', new Tensor([3], encode('xyz')));
  context.beginSequence();
  context.nextOfSequence();
  context.endSequence();
  print(`after its end: ${code(() => context.output(0))}`);
}

function spell(context, word) {
  context.setInputAt(0, 'prompt', new Tensor([word.length], encode(word)));
  const letters = [];
  try {
    for (const [letter] of context.pieces()) letters.push(decode(letter.bytes));
    return [...letters, 'end'].join(' ');
  } catch (error) {
    return [...letters, error.code].join(' ');
  }
}

/** The code of a call that may fail. */
function code(action) {
  try {
    action();
    return 'success';
  } catch (error) {
    return error.code;
  }
}

function list(array) {
  return `[${array.join(', ')}]`;
}

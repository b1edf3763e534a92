// Arrays of every type in and out, a model from bytes, and the errors of mistakes.
//
//     tour ENCODING FILE...
//
// The host has the graph `types`, with an input [2] for each type but bf16, each of which is an output too; `bf16`, with
// one of bf16; and the files of a model that gives max(x, 0) of its input x, f32 [4].

import { Graph, Tensor, encode } from '../wasi-nn/index.js';
import { args, command, fail, print, readFile } from '../wasi-nn/wasi.js';

const NAMES = /** @type {const} */ (['f16', 'f32', 'f64', 'u8', 'i32', 'i64']);
const ARRAYS = [
  Uint16Array.of(0x3c00, 0xc000), // the bits of 1 and -2
  Float32Array.of(1, -2),
  Float64Array.of(1, -2),
  Uint8Array.of(1, 254),
  Int32Array.of(1, -2),
  BigInt64Array.of(1n, -9007199254740993n),
];

export const run = command(() => {
  const [encoding, ...paths] = args();
  if (paths.length === 0) fail('usage: tour ENCODING FILE...');
  const unknown = failure(() => Graph.loadByName('no such graph'));
  print(`unknown name: ${unknown.code}, with a message: ${unknown.message.length > 0}`);
  const graph = Graph.loadByName('types');
  mistakes(graph);
  arrays(graph);
  print(`bf16: ${bf16()}`);
  fromBytes(encoding, paths);
  using again = Graph.loadByName('types'); // of the same name, while the first one is there
  graph.close();
  print(`after a drop: ${code(() => again.context().close())}`);
});

function mistakes(graph) {
  using empty = graph.context();
  print(`no inputs: ${code(() => empty.compute())}`);
  print(`wrong dims: ${code(() => new Tensor([3], Float32Array.of(1, -2)))}`);
  using context = graph.context();
  context.setInputAt(1, 'f32', new Tensor([2], Uint8Array.of(1, 2))); // bytes where f32 belongs
  print(`wrong type: ${code(() => context.compute())}`);
}

function arrays(graph) {
  using context = graph.context();
  NAMES.forEach((name, index) => context.setInputAt(index, name, new Tensor([2], ARRAYS[index], name)));
  print(`no output yet: ${code(() => context.output(1))}`);
  for (let time = 0; time < 2; time++) context.compute(); // inputs stay set
  NAMES.forEach((name, index) => print(`${name}: ${list(context.output(index, name))}`));
  print(`no such output: ${code(() => context.output(6))}`);

  const small = failure(() => context.outputInto(5, new BigInt64Array(1)));
  print(`small buffer: ${small.code}, ${small.needed} bytes needed`);
  const large = new Int32Array(3);
  print(`large buffer: ${context.outputInto(4, large)} of ${list(large)}`);
}

/** A bf16 is the upper half of an f32. */
function bf16() {
  const halves = new Uint16Array(Float32Array.of(1, -2).buffer).filter((_, at) => at % 2 === 1);
  using graph = Graph.loadByName('bf16');
  using context = graph.context();
  context.setInputAt(0, 'x', new Tensor([2], halves, 'bf16'));
  context.compute();
  const bits = Uint32Array.from(context.output(0, 'bf16'), (half) => half << 16);
  return list(new Float32Array(bits.buffer));
}

function fromBytes(encoding, paths) {
  using graph = Graph.load(paths.map(readFile), encoding);
  using context = graph.context();
  context.setInputAt(0, 'x', new Tensor([4], Float32Array.of(-1, 2, -3, 4)));
  context.compute();
  print(`from bytes: ${list(context.output(0, 'f32'))}`);
  print(`bad model: ${code(() => Graph.load([encode('no model')], encoding)) !== 'success'}`);
}

/** The error of a call that fails. */
function failure(action) {
  try {
    action();
  } catch (error) {
    return error;
  }
  throw new Error('the call should have failed');
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

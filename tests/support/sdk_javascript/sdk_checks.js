// What the three examples of the SDK for JavaScript don't show: every kind of array, freeing, and what is refused.
//
// The host has the graphs `types` and `bf16` of the examples. The program prints nothing: a check fails, or none.

import { Graph, NNError, Tensor, codes, decode, encode } from '../../../sdk/javascript/wasi-nn/index.js';
import { args, command, fail, readFile } from '../../../sdk/javascript/wasi-nn/wasi.js';

export const run = command(() => {
  const [what] = args();
  if (what === 'fail') fail('a reason\u00e9');
  if (what === 'throw') throw new RangeError('told with its place');
  if (what === 'error') Graph.loadByName('none');
  if (what === 'leave') return leave();
  buffers();
  typesOfArrays();
  dims();
  outputs();
  closed();
  withoutExtensions();
  words();
  texts();
  files();
});

function check(is, what) {
  if (!is) throw new Error(`not so: ${what}`);
}

function same(given, wanted) {
  check(given === wanted, `${String(given)} is ${String(wanted)}`);
}

function refused(code, action) {
  try {
    action();
  } catch (error) {
    check(error instanceof NNError && error instanceof Error, `${error} is an NNError`);
    same(error.code, code);
    same(String(error), `${code}: ${error.message}`);
    check(codes.includes(error.code) && error.message.length > 0 && error.stack.length > 0, 'it tells its reason');
    return error;
  }
  throw new Error(`no error ${code}`);
}

function isTypeError(action) {
  try {
    action();
  } catch (error) {
    return check(error instanceof TypeError, `${error} is a TypeError`);
  }
  throw new Error('no TypeError');
}

/** Elements of any array, which may change afterwards. */
function buffers() {
  const numbers = Float32Array.of(1, 2, 3, 4);
  const shifted = new Uint8Array(17); // elements that aren't aligned
  shifted.set(new Uint8Array(numbers.buffer), 1);
  for (const array of [numbers.buffer, new Uint8Array(numbers.buffer), new DataView(numbers.buffer), shifted.subarray(1)]) {
    same(new Tensor([4], array, 'f32').array().join(), '1,2,3,4');
  }
  same(new Tensor([2], numbers.subarray(1, 3)).array('f32').join(), '2,3');
  const tensor = new Tensor([4], numbers);
  numbers.fill(0);
  tensor.array().fill(9);
  same(tensor.array().join(), '1,2,3,4');
  same(tensor.array('u8').length, 16);
  refused('invalid-argument', () => tensor.array('f64'));
}

function typesOfArrays() {
  const told = [
    [Float32Array, 'f32'],
    [Float64Array, 'f64'],
    [Uint8Array, 'u8'],
    [Uint8ClampedArray, 'u8'],
    [Int32Array, 'i32'],
    [BigInt64Array, 'i64'],
    [Float16Array, 'f16'],
  ];
  for (const [type, word] of told) {
    const tensor = new Tensor([2], new type(2));
    same(tensor.type, word);
    same(new Tensor([2], new type(2), word).bytes.length, 2 * type.BYTES_PER_ELEMENT);
  }
  same(new Tensor([1], Float16Array.of(1)).array()[0], 0x3c00);
  for (const type of [Int8Array, Int16Array, Uint16Array, Uint32Array, BigUint64Array, DataView]) {
    refused('invalid-argument', () => new Tensor([1], type === DataView ? new DataView(new ArrayBuffer(1)) : new type(1)));
  }
  for (const [array, type] of [[new Float64Array(1), 'f32'], [new Uint32Array(1), 'i32'], [new Int16Array(1), 'f16'], [new Int8Array(1), 'u8'], [Float16Array.of(1), 'bf16']]) {
    refused('invalid-argument', () => new Tensor([1], array, type));
  }
  for (const wrong of [[1, 2], 'text', null, undefined, 5]) isTypeError(() => new Tensor([1], wrong));
}

function dims() {
  same(new Tensor([], Float64Array.of(5)).dims.length, 0);
  same(new Tensor([0, 7], new Uint8Array()).bytes.length, 0);
  same(new Tensor(Uint32Array.of(3), new Uint8Array(3)).dims.join(), '3');
  for (const wrong of [[2], [], [-1], [-1, -3], [2 ** 32], [3, 2 ** 32], [1.5, 2], ['3'], [3n], [NaN], [undefined]]) {
    refused('invalid-argument', () => new Tensor(wrong, new Uint8Array(3)));
  }
  refused('invalid-argument', () => new Tensor(Array(9).fill(0xffffffff), new Uint8Array(1)));
  refused('invalid-argument', () => new Tensor([1], new Uint8Array(3), 'f32'));
  isTypeError(() => new Tensor(null, new Uint8Array(1)));
}

function bits(...values) {
  return new Tensor([values.length], Uint16Array.from(values), 'bf16');
}

function outputs() {
  using graph = Graph.loadByName('bf16');
  using context = graph.context();
  context.setInput(0, bits(0x3f80, 0xc000)); // by its index
  context.compute();
  same(context.output(0).join(), '16256,49152');
  same(context.output(0, 'u8').join(), '128,63,0,192');
  const room = new Uint8Array(6);
  same(context.outputInto(0, room), 4);
  same(room.join(), '128,63,0,192,0,0');
  same(context.outputInto(0, new Uint16Array(3)), 2);
  same(context.outputInto(0, new ArrayBuffer(4)), 4);
  same(refused('too-large', () => context.outputInto(0, new Uint8Array(3))).needed, 4);
  for (const index of [-1, 1, 0.5, 'length', undefined]) refused('invalid-argument', () => context.output(index));
  refused('invalid-argument', () => context.output(0, 'f16'));
  refused('invalid-argument', () => context.output(0, 'f17'));
  refused('invalid-argument', () => context.outputInto(0, new Float32Array(1)));
  isTypeError(() => context.outputInto(0, [0, 0]));
  const given = context.computeNamed(new Map([['x', bits(1, 2)]]));
  same([...given.values()][0].array().join(), '1,2');
  refused('runtime-error', () => context.output(0)); // those were of these inputs alone
  context.setInput(0, bits(1, 2, 3));
  refused('invalid-argument', () => context.compute());
  refused('runtime-error', () => context.output(0)); // a compute that fails leaves no outputs
}

function closed() {
  const graph = Graph.loadByName('bf16');
  const context = graph.context();
  graph.close();
  graph.close();
  refused('invalid-argument', () => graph.context());
  context.setInputNamed('x', bits(1, 2));
  context.compute(); // it keeps its graph
  context.close();
  context.close();
  for (const action of [() => context.compute(), () => context.output(0), () => context.computeNamed({})]) {
    refused('invalid-argument', action);
  }
  for (let time = 0; time < 200; time++) {
    using again = Graph.loadByName('bf16'); // the host allows 64 at a time
    refused('not-found', () => Graph.loadByName('none'));
  }
}

/** A graph that nobody closes. */
function leave() {
  Graph.loadByName('bf16').context();
}

function withoutExtensions() {
  using graph = Graph.loadByName('bf16');
  using context = graph.context();
  for (const action of [
    () => graph.describe(),
    () => graph.state(),
    () => graph.setState(new Uint8Array()),
    () => graph.useSignature('x'),
    () => context.beginSequence(),
    () => context.setStrings(0, [1], ['x']),
    () => context.strings(0),
  ]) {
    check(refused('unsupported-operation', action).message.includes('guest-ext'), 'it says how to build it');
  }
  refused('invalid-argument', () => context.nextOfSequence());
  context.endSequence();
}

/** A host's bindings trap for what isn't of their types, so that the library looks first. */
function words() {
  refused('invalid-argument', () => Graph.load([new Uint8Array()], 'none'));
  refused('invalid-argument', () => Graph.load([new Uint8Array()], 'onnx', 'npu'));
  refused('invalid-argument', () => Graph.load([], 'onnx'));
  refused('invalid-argument', () => Graph.loadByName('\ud800'));
  refused('not-found', () => Graph.loadByName('\u{1f600}'));
  for (const wrong of [undefined, null, 5, {}]) isTypeError(() => Graph.loadByName(wrong));
  for (const wrong of ['text', [[1]], null]) isTypeError(() => Graph.load(wrong, 'onnx'));
  using graph = Graph.loadByName('bf16');
  using context = graph.context();
  isTypeError(() => context.setInputNamed('x', new Uint8Array(4)));
  isTypeError(() => context.setInputNamed(5, bits(1, 2)));
  isTypeError(() => context.computeNamed({ x: [1, 2] }));
}

function texts() {
  for (const text of ['', 'ab', '\u00e9\u20ac', '\u{1f600}!', 'a\0b']) same(decode(encode(text)), text);
  same(decode(encode('\ud800a')), '\ufffda');
  same([...encode('\u20ac')].join(), '226,130,172');
  for (const [bytes, text] of [[[0xff, 0x61], '\ufffda'], [[0xc0, 0x80], '\ufffd\ufffd'], [[0xe2, 0x82], '\ufffd\ufffd'], [[0xed, 0xa0, 0x80], '\ufffd\ufffd\ufffd'], [[0xf4, 0x90, 0x80, 0x80], '\ufffd\ufffd\ufffd\ufffd']]) {
    same(decode(Uint8Array.from(bytes)), text);
  }
}

function files() {
  same(decode(readFile('a-file')), 'content');
  for (const path of ['none', '/elsewhere', '../a-file']) {
    try {
      readFile(path);
    } catch (error) {
      check(error instanceof Error && error.message.startsWith(`${path} can't be read`), error.message);
      continue;
    }
    throw new Error(`${path} was read`);
  }
}

// Arrays of every type in and out, a model from bytes, and the errors of mistakes.
//
//     tour ENCODING FILE...
//
// The host has the graph `types`, with an input [2] for each type but bf16, each of which is an output too; `bf16`, with
// one of bf16; and the files of a model that gives max(x, 0) of its input x, f32 [4].

import { Context, Graph, NNError, Result, Tensor, Type, check, encodingNamed } from "../assembly";
import { fail, readFile } from "./files";
import { closeContext, closeGraph } from "./closing";

const NAMES = ["f16", "f32", "f64", "u8", "i32", "i64"];

const unknown = Graph.loadByName("no such graph").error!;
console.log("unknown name: " + unknown.name + ", with a message: " + (unknown.message.length > 0).toString());

const graph = Graph.loadByName("types").value;
const empty = graph.context().value;
console.log("no inputs: " + code(empty.compute()));
closeContext(empty);
console.log("wrong dims: " + code(Tensor.of<Float32Array>([3], floats([1, -2])).error));
const wrong = graph.context().value;
console.log("wrong type: " + code(wrong.setInputAt(1, "f32", Tensor.of<Uint8Array>([2], bytes([1, 2])).value)));
closeContext(wrong);

const context = graph.context().value;
const bits = new Uint16Array(2), doubles = new Float64Array(2), ints = new Int32Array(2), longs = new Int64Array(2);
bits[0] = 0x3c00;
bits[1] = 0xc000;
doubles[0] = 1;
doubles[1] = -2;
ints[0] = 1;
ints[1] = -2;
longs[0] = 1;
longs[1] = -9007199254740993;
set(0, Tensor.ofBits([2], Type.F16, bits));
set(1, Tensor.of<Float32Array>([2], floats([1, -2])));
set(2, Tensor.of<Float64Array>([2], doubles));
set(3, Tensor.of<Uint8Array>([2], bytes([1, 254])));
set(4, Tensor.of<Int32Array>([2], ints));
set(5, Tensor.of<Int64Array>([2], longs));
console.log("no output yet: " + code(context.output<Float32Array>(1).error));
for (let time = 0; time < 2; time++) check(context.compute()); // inputs stay set
console.log("f16: " + list(context.output<Uint16Array>(0).value));
console.log("f32: " + list(whole(context.output<Float32Array>(1).value)));
console.log("f64: " + list(whole(context.output<Float64Array>(2).value)));
console.log("u8: " + list(context.output<Uint8Array>(3).value));
console.log("i32: " + list(context.output<Int32Array>(4).value));
console.log("i64: " + list(context.output<Int64Array>(5).value));
console.log("no such output: " + code(context.output<Float32Array>(6).error));

const small = context.outputInto<Int64Array>(5, new Int64Array(1)).error!;
console.log("small buffer: " + small.name + ", " + small.needed.toString() + " bytes needed");
const large = new Int32Array(3);
const size = context.outputInto<Int32Array>(4, large).value;
console.log("large buffer: " + size.elements.toString() + " of " + list(large));

const bf16 = Graph.loadByName("bf16").value;
const numbers = bf16.context().value;
console.log("bf16: " + code(numbers.setInputAt(0, "x", Tensor.ofBits([2], Type.Bf16, new Uint16Array(2)).value)));
closeContext(numbers);
closeGraph(bf16);

const encoding = process.argv.length > 1 ? encodingNamed(process.argv[1]) : -1;
if (encoding < 0) fail("usage: tour ENCODING FILE...", 2);
const builders: Uint8Array[] = [];
for (let at = 2; at < process.argv.length; at++) {
  const content = readFile(process.argv[at]);
  if (content) builders.push(content);
  else fail(process.argv[at] + " can't be read");
}
const model = Graph.load(builders, encoding).value;
const relu = model.context().value;
check(relu.setInputAt(0, "x", Tensor.of<Float32Array>([4], floats([-1, 2, -3, 4])).value));
check(relu.compute());
console.log("from bytes: " + list(whole(relu.output<Float32Array>(0).value)));
console.log("bad model: " + (Graph.load([bytes([1, 2, 3])], encoding).error != null).toString());
closeContext(relu);
closeGraph(model);

const again = Graph.loadByName("types").value; // of the same name, while the first one is there
closeContext(context);
closeGraph(graph);
const last = again.context();
console.log("after a drop: " + code(last.error));
closeContext(last.value);
closeGraph(again);

function set(index: u32, tensor: Result<Tensor>): void {
  check(context.setInputAt(index, NAMES[index], tensor.value));
}

function code(error: NNError | null): string {
  return error ? error.name : "success";
}

function floats(numbers: i32[]): Float32Array {
  const array = new Float32Array(numbers.length);
  for (let at = 0; at < numbers.length; at++) array[at] = <f32>numbers[at];
  return array;
}

function bytes(numbers: i32[]): Uint8Array {
  const array = new Uint8Array(numbers.length);
  for (let at = 0; at < numbers.length; at++) array[at] = <u8>numbers[at];
  return array;
}

function whole<T extends ArrayBufferView>(array: T): Int32Array {
  const numbers = new Int32Array(array.length);
  for (let at = 0; at < array.length; at++) numbers[at] = <i32>array[at];
  return numbers;
}

function list<T extends ArrayBufferView>(array: T): string {
  return "[" + array.join(", ") + "]";
}

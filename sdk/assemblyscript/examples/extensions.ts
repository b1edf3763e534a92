// The extensions: descriptions, signatures, variables, byte strings and sequences, and WasmEdge's streaming.
//
// The host has the graphs `types` (as for `tour`), `learner`, which learns a factor, `echo`, which gives strings back,
// and `speller`, which spells a word letter by letter and fails at `?`.

import {
  Context, Description, Dimension, DimensionKind, ElementKind, Graph, NNError, Tensor, TensorDescription, Type, check,
  nameOfEncoding, nameOfType,
} from "../assembly";
import { closeContext, closeGraph } from "./closing";

named();
learner();
strings();
sequences();
streaming();

function named(): void {
  const graph = Graph.loadByName("types").value, context = graph.context().value;
  const longs = new Int64Array(2), floats = new Float32Array(2), doubles = new Float64Array(2);
  longs[0] = 7;
  longs[1] = -8;
  const inputs = new Map<string, Tensor>();
  inputs.set("i64", Tensor.of<Int64Array>([2], longs).value);
  inputs.set("f16", Tensor.ofBits([2], Type.F16, new Uint16Array(2)).value);
  inputs.set("u8", Tensor.of<Uint8Array>([2], new Uint8Array(2)).value);
  inputs.set("f32", Tensor.of<Float32Array>([2], floats).value);
  inputs.set("f64", Tensor.of<Float64Array>([2], doubles).value);
  inputs.set("i32", Tensor.of<Int32Array>([2], new Int32Array(2)).value);
  const outputs = context.computeNamed(inputs).value;
  for (let at = 0; at < outputs.length; at++) {
    const tensor = outputs[at].tensor;
    const shown = nameOfType(tensor.type) + " [" + tensor.dims.join(", ") + "], " + tensor.bytes.length.toString();
    console.log(outputs[at].name + ": " + shown + " bytes");
  }
  const none = new Map<string, Tensor>();
  none.set("none", Tensor.of<Uint8Array>([1], new Uint8Array(1)).value);
  console.log("unknown input: " + code(context.computeNamed(none).error));
  const names = inputs.keys();
  for (let at = 0; at < names.length; at++) check(context.setInputNamed(names[at], inputs.get(names[at])));
  check(context.compute());
  const last = context.outputTensor(5).value;
  console.log("by name: " + last.name + " [" + last.tensor.array<Int64Array>().value.join(", ") + "]");
  console.log("of another type: " + code(last.tensor.array<Float64Array>().error));
  closeContext(context);
  closeGraph(graph);
}

function learner(): void {
  const graph = Graph.loadByName("learner").value;
  show(graph.describe().value);
  console.log("unknown signature: " + code(graph.useSignature("none").error));
  const trained = graph.useSignature("train").value, training = trained.context().value;
  console.log("train: " + learn(training, 1, 2));
  const state = graph.state().value;
  console.log("state: " + state.length.toString() + " bytes");
  console.log("train: " + learn(training, 1, 2));
  console.log("infer: " + infer(graph));
  check(graph.setState(state));
  console.log("restored: " + infer(graph));
  console.log("bad state: " + code(graph.setState(bytesOf("no state"))));
  const echo = Graph.loadByName("echo").value;
  console.log("no state: " + code(echo.state().error));
  closeGraph(echo);
  closeContext(training);
  closeGraph(trained);
  closeGraph(graph);
}

function learn(context: Context, first: f32, second: f32): string {
  const x = new Float32Array(2);
  x[0] = first;
  x[1] = second;
  check(context.setInputAt(0, "x", Tensor.of<Float32Array>([2], x).value));
  check(context.compute());
  const y = context.output<Float32Array>(0).value;
  return "[" + (<i32>y[0]).toString() + ", " + (<i32>y[1]).toString() + "]";
}

function infer(graph: Graph): string {
  const context = graph.context().value, learned = learn(context, 1, 1);
  closeContext(context);
  return learned;
}

function show(description: Description): void {
  const where = " on " + description.runtime + " (" + description.device + ")";
  console.log(nameOfEncoding(description.encoding) + where);
  console.log("signature " + description.signature + " of " + description.signatures.join(", "));
  for (let at = 0; at < description.inputs.length; at++) showTensor("input", description.inputs[at]);
  const outputs = description.outputs;
  if (outputs) {
    for (let at = 0; at < outputs.length; at++) showTensor("output", outputs[at]);
  }
  const keys = description.metadata.keys();
  for (let at = 0; at < keys.length; at++) console.log(keys[at] + ": " + description.metadata.get(keys[at]));
}

function showTensor(what: string, tensor: TensorDescription): void {
  const dims = tensor.dims;
  const sizes = dims ? dims.map<string>((dim) => sizeOf(dim)).join(", ") : "...";
  let elements = "any numbers";
  if (tensor.elements == ElementKind.Number) elements = nameOfType(tensor.type);
  else if (tensor.elements == ElementKind.ByteString) elements = "byte strings";
  else if (tensor.elements == ElementKind.Native) elements = tensor.native;
  console.log(what + " " + tensor.name + ": " + elements + " [" + sizes + "]");
}

function sizeOf(dim: Dimension): string {
  if (dim.kind == DimensionKind.Fixed) return dim.size.toString();
  return dim.kind == DimensionKind.Named ? dim.name : "?";
}

function strings(): void {
  const graph = Graph.loadByName("echo").value;
  showTensor("input", graph.describe().value.inputs[0]);
  const context = graph.context().value;
  check(context.setStringsAt(0, "x", [3], [bytesOf("ab"), bytesOf(""), bytesOf("\u{e9}")]));
  check(context.compute());
  const texts = context.strings(0).value.map<string>((it) => "'" + textOf(it) + "'");
  console.log("strings: " + texts.join(" "));
  const three = [bytesOf("a"), bytesOf("b"), bytesOf("c")];
  console.log("wrong number: " + code(context.setStringsAt(0, "x", [2], three)));
  closeContext(context);
  closeGraph(graph);
}

function sequences(): void {
  const graph = Graph.loadByName("speller").value, context = graph.context().value;
  console.log("sequence: " + spell(context, "abc"));
  console.log("failing: " + spell(context, "d?"));
  check(context.setInputAt(0, "prompt", prompt("xyz")));
  check(context.beginSequence());
  check(context.nextOfSequence().error);
  check(context.endSequence());
  console.log("after its end: " + code(context.output<Uint8Array>(0).error));
  closeContext(context);
  closeGraph(graph);
}

function spell(context: Context, word: string): string {
  check(context.setInputAt(0, "prompt", prompt(word)));
  check(context.beginSequence());
  let letters = "";
  while (true) {
    const piece = context.nextOfSequence();
    if (piece.error) return letters + code(piece.error);
    if (!piece.value.given) return letters + "end";
    letters += textOf(context.output<Uint8Array>(0).value) + " ";
  }
  return letters;
}

function streaming(): void {
  // @ts-ignore: `asc --use WASI_NN_WASMEDGE=1` defines it
  if (!isDefined(WASI_NN_WASMEDGE)) return;
  console.log("configured: " + code(Graph.loadByNameWithConfig("speller", "{}").error));
  const graph = Graph.loadByNameWithConfig("speller", "").value, context = graph.context().value;
  check(context.setInputAt(0, "prompt", prompt("abc")));
  let letters = "", end = context.computeSingle();
  while (!end) {
    letters += textOf(context.outputSingle(0).value) + " ";
    end = context.computeSingle();
  }
  check(context.finiSingle());
  console.log("streaming: " + letters + code(end));
  closeContext(context);
  closeGraph(graph);
}

function prompt(text: string): Tensor {
  return Tensor.of<Uint8Array>([text.length], bytesOf(text)).value;
}

function bytesOf(text: string): Uint8Array {
  return Uint8Array.wrap(String.UTF8.encode(text));
}

function textOf(bytes: Uint8Array): string {
  return String.UTF8.decodeUnsafe(bytes.dataStart, bytes.byteLength);
}

function code(error: NNError | null): string {
  return error ? error.name : "success";
}

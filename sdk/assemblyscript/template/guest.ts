// A guest in AssemblyScript: it tells the colour of a red square. Your own begins here.

import { Code, Encoding, Graph, Tensor, check } from "./wasi-nn";
import { fail, readFile } from "./files";

const SIZE = 8;
const LABELS = ["black", "white", "red", "green", "blue", "yellow"];

/** The model that the operator named, or else the one in the guest's own directory. */
function colours(): Graph {
  const named = Graph.loadByName("colours");
  if (!named.error || named.error!.code != Code.NotFound) return named.value; // a failure ends the guest
  console.log("no graph is named colours here: loading colours.onnx");
  const model = readFile("colours.onnx");
  if (!model) fail("colours.onnx can't be read: give the guest this directory, --dir .");
  return Graph.load([model!], Encoding.Onnx).value;
}

const context = colours().context().value;
const picture = new Float32Array(3 * SIZE * SIZE).fill(-0.9);
picture.fill(0.9, 0, SIZE * SIZE); // the red channel comes first
check(context.setInputAt(0, "picture", Tensor.of<Float32Array>([1, 3, SIZE, SIZE], picture).value));
check(context.compute());
const scores = context.output<Float32Array>(0).value;
let best = 0;
for (let at = 1; at < scores.length; at++) {
  if (scores[at] > scores[best]) best = at;
}
console.log(LABELS[best]);

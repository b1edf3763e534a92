// What is in these files? By the model of Magika, from their bytes alone.
//
//     identify GRAPH LABELS FILE...
//
// The model sees 1,024 bytes of a file's beginning and as many of its end, each without the white space around the
// content, each byte as an i32; 256 stands where there is no byte. It gives a probability for each label.

import { Context, Graph, NNError, Tensor } from "../assembly";
import { fail, readFile } from "./files";

const SEEN = 1024;
const BLOCK = 4096;
const NO_BYTE = 256;
const FEWEST_BYTES = 8;

if (process.argv.length < 4) fail("usage: identify GRAPH LABELS FILE...", 2);
const labels = readFile(process.argv[2]);
if (!labels) fail("the labels can't be read");
const names = String.UTF8.decode(labels!.buffer).trimEnd().split("\n");
const graph = Graph.loadByName(process.argv[1]);
stop(graph.error);
const context = graph.value.context();
stop(context.error);
for (let at = 3; at < process.argv.length; at++) identify(context.value, process.argv[at]);

function identify(context: Context, path: string): void {
  const file = readFile(path);
  if (!file) {
    fail(path + " can't be read");
    return;
  }
  const features = featuresOf(file);
  if (features[FEWEST_BYTES - 1] == NO_BYTE) {
    console.log(path + ": too short to tell");
    return;
  }
  stop(context.setInputAt(0, "bytes", Tensor.of<Int32Array>([1, 2 * SEEN], features).value));
  stop(context.compute());
  const scores = context.output<Float32Array>(0).value;
  let best = 0;
  for (let at = 1; at < scores.length; at++) {
    if (scores[at] > scores[best]) best = at;
  }
  const percent = <u32>(<f32>100 * scores[best] + 0.5);
  console.log(path + ": " + (best < names.length ? names[best] : "?") + ", " + percent.toString() + " %");
}

function featuresOf(file: Uint8Array): Int32Array {
  const block = min(file.length, BLOCK);
  let first = 0, last = file.length;
  while (first < block && isSpace(file[first])) first++;
  while (last > file.length - block && isSpace(file[last - 1])) last--;
  const features = new Int32Array(2 * SEEN);
  for (let at = 0; at < SEEN; at++) {
    features[at] = first + at < block ? file[first + at] : NO_BYTE;
    features[2 * SEEN - 1 - at] = last - 1 - at >= file.length - block ? file[last - 1 - at] : NO_BYTE;
  }
  return features;
}

function isSpace(byte: u8): bool {
  return byte == 0x20 || (byte >= 9 && byte <= 13);
}

function stop(error: NNError | null): void {
  if (error) fail(error.toString());
}

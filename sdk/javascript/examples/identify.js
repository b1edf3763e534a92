// What is in these files? By the model of Magika, from their bytes alone.
//
//     identify GRAPH LABELS FILE...
//
// The model sees 1,024 bytes of a file's beginning and as many of its end, each without the white space around the
// content, each byte as an i32; 256 stands where there is no byte. It gives a probability for each label.

import { Graph, Tensor, decode } from '../wasi-nn/index.js';
import { args, command, fail, print, readFile } from '../wasi-nn/wasi.js';

const SEEN = 1024;
const BLOCK = 4096;
const NO_BYTE = 256;
const FEWEST_BYTES = 8;

export const run = command(() => {
  const [graphName, labelsPath, ...files] = args();
  if (files.length === 0) fail('usage: identify GRAPH LABELS FILE...');
  const labels = decode(readFile(labelsPath)).trimEnd().split('\n');
  using graph = Graph.loadByName(graphName);
  using context = graph.context();
  for (const file of files) {
    const features = featuresOf(readFile(file));
    if (features[FEWEST_BYTES - 1] === NO_BYTE) {
      print(`${file}: too short to tell`);
      continue;
    }
    context.setInputAt(0, 'bytes', new Tensor([1, 2 * SEEN], features));
    context.compute();
    const scores = context.output(0, 'f32');
    const best = scores.reduce((a, b) => Math.max(a, b));
    print(`${file}: ${labels[scores.indexOf(best)]}, ${Math.floor(100 * best + 0.5)} %`);
  }
});

function featuresOf(content) {
  const isContent = (byte) => byte !== 32 && (byte < 9 || byte > 13);
  const [first, last] = [content.subarray(0, BLOCK), content.subarray(-BLOCK)];
  const from = first.findIndex(isContent);
  const to = last.findLastIndex(isContent) + 1;
  const features = new Int32Array(2 * SEEN).fill(NO_BYTE);
  if (from >= 0) {
    features.set(first.subarray(from, from + SEEN));
    const end = last.subarray(Math.max(0, to - SEEN), to);
    features.set(end, 2 * SEEN - end.length);
  }
  return features;
}

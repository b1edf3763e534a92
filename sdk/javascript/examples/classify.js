// What is in these pictures? The five best labels of each.
//
//     classify GRAPH INPUT LABELS PICTURE...
//
// A picture is a binary PPM of the size that the model takes. The model's only input has the name INPUT, and is f32
// [1, 3, height, width] of (byte - 127) / 128. The scores are taken for logits.

import { Graph, Tensor, decode } from '../wasi-nn/index.js';
import { args, command, fail, print, readFile } from '../wasi-nn/wasi.js';

export const run = command(() => {
  const [graphName, inputName, labelsPath, ...pictures] = args();
  if (pictures.length === 0) fail('usage: classify GRAPH INPUT LABELS PICTURE...');
  const labels = decode(readFile(labelsPath)).trimEnd().split('\n');
  using graph = Graph.loadByName(graphName);
  using context = graph.context();
  for (const picture of pictures) {
    context.setInputAt(0, inputName, imageOf(picture));
    context.compute();
    print(picture);
    showBest(context.output(0, 'f32'), labels);
  }
});

/** Print the five best labels with their share of all. */
function showBest(scores, labels) {
  const greatest = scores.reduce((a, b) => Math.max(a, b));
  const shares = scores.map((score) => Math.exp(score - greatest));
  const sum = shares.reduce((a, b) => a + b);
  const order = [...shares.keys()].sort((a, b) => scores[b] - scores[a]);
  for (const place of order.slice(0, 5)) {
    const percent = Math.floor((100 * shares[place]) / sum + 0.5);
    print(`  ${String(percent).padStart(3)} %  ${labels[place] ?? '?'}`);
  }
}

/** A picture as the model takes it. */
function imageOf(path) {
  const ppm = readFile(path);
  const header = /^P6\s+(\d+)\s+(\d+)\s+255\s/.exec(String.fromCharCode(...ppm.subarray(0, 64)));
  if (!header) fail(`${path} is no binary PPM of one byte a colour`);
  const [width, height] = [Number(header[1]), Number(header[2])];
  const pixels = ppm.subarray(header[0].length);
  const area = width * height;
  const image = new Float32Array(3 * area);
  for (let colour = 0; colour < 3; colour++) {
    // the model takes all reds first, then all greens
    for (let at = 0; at < area; at++) image[colour * area + at] = (pixels[3 * at + colour] - 127) / 128;
  }
  return new Tensor([1, 3, height, width], image);
}

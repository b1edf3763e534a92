// A guest in TypeScript: it tells the colour of a red square. Your own begins here.

import { Graph, NNError, Tensor } from './wasi-nn/index.js';
import { command, fail, print, readFile } from './wasi-nn/wasi.js';

const SIZE = 8;
const LABELS = ['black', 'white', 'red', 'green', 'blue', 'yellow'];

/** The model that the operator named, or else the one in the guest's own directory. */
function colours(): Graph {
  try {
    return Graph.loadByName('colours');
  } catch (error) {
    if (!(error instanceof NNError) || error.code !== 'not-found') throw error;
  }
  print('no graph is named colours here: loading colours.onnx');
  return Graph.load([model()], 'onnx');
}

function model(): Uint8Array {
  try {
    return readFile('colours.onnx');
  } catch (error) {
    return fail(`${(error as Error).message}: give the guest this directory, --dir .`);
  }
}

export const run = command(() => {
  const picture = new Float32Array(3 * SIZE * SIZE).fill(-0.9);
  picture.fill(0.9, 0, SIZE * SIZE); // the red channel comes first
  using graph = colours();
  using context = graph.context();
  context.setInputAt(0, 'picture', new Tensor([1, 3, SIZE, SIZE], picture));
  context.compute();
  const scores = context.output(0, 'f32');
  print(LABELS[scores.indexOf(Math.max(...scores))]);
});

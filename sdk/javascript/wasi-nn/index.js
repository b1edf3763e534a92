/**
 * wasi-nn for guests in JavaScript and TypeScript: components that componentize-qjs or jco builds.
 *
 *     import { Graph, Tensor } from './wasi-nn/index.js';
 *     import { command, print } from './wasi-nn/wasi.js';
 *
 *     export const run = command(() => {
 *       using graph = Graph.loadByName('net');
 *       using context = graph.context();
 *       context.setInputAt(0, 'x', new Tensor([1, 4], Float32Array.of(0.5, -1, 2, 3)));
 *       context.compute();
 *       print(context.output(0, 'f32').join(' '));
 *     });
 *
 * A call that fails throws an `NNError` with a `code` and a `message`. Graphs and contexts are given back by `using` or
 * `close()`. Arrays pass as whole buffers, without a loop. `ext.js` has the same with the extensions, for the world
 * `guest-ext`.
 */

export { Context } from './context.js';
export { NNError } from './error.js';
export { Graph } from './graph.js';
export { Tensor } from './tensor.js';
export { decode, encode } from './text.js';
export { codes, encodings, targets, types } from './words.js';

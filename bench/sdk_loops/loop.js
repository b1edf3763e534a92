// Inferences of one input: loop GRAPH INPUT ROUNDS [COUNT]. COUNT is the number of elements, 4 if it isn't given.

import { Graph, Tensor } from '../../sdk/javascript/wasi-nn/index.js';
import { args, command, fail } from '../../sdk/javascript/wasi-nn/wasi.js';

export const run = command(() => {
  const [name, inputName, rounds, count = '4'] = args();
  const x = Float32Array.from({ length: Number(count) }, (_, at) => [1, -1, 2, -2][at % 4]);
  const y = new Float32Array(x.length);
  using graph = Graph.loadByName(name);
  using context = graph.context();
  for (let round = 0; round < Number(rounds); round++) {
    context.setInputAt(0, inputName, new Tensor([x.length], x));
    context.compute();
    context.outputInto(0, y);
  }
  if (y[0] !== 1) fail('the output is wrong');
});

// Inferences of four numbers: loop GRAPH INPUT ROUNDS.

import { Graph, Tensor, check } from "../../sdk/assemblyscript/assembly";

const context = Graph.loadByName(process.argv[1]).value.context().value;
const x = new Float32Array(4), y = new Float32Array(4);
x[0] = 1;
x[1] = -1;
for (let rounds = I32.parseInt(process.argv[3]); rounds > 0; rounds--) {
  check(context.setInputAt(0, process.argv[2], Tensor.of<Float32Array>([4], x).value));
  check(context.compute());
  context.outputInto<Float32Array>(0, y).value;
}
assert(y[0] == 1);

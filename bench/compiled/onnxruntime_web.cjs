// ONNX Runtime, compiled to WebAssembly, in Node: times inferences on an input f32[1, 3, 224, 224].
//
//     node onnxruntime_web.cjs MODEL THREADS ROUNDS
//
// It writes as guests/c/measure.c does: the number of steps in a round (1), the nanoseconds of each round, and the bytes
// of the last output.
const { writeSync } = require("node:fs");
const runtime = require("onnxruntime-web");

async function main(model, threads, rounds) {
  runtime.env.wasm.numThreads = threads;
  const session = await runtime.InferenceSession.create(model, { executionProviders: ["wasm"] });
  const image = Float32Array.from({ length: 3 * 224 * 224 }, (_, i) => (i % 251) / 251);
  const tensor = new runtime.Tensor("float32", image, [1, 3, 224, 224]);
  const times = new BigUint64Array(1 + rounds);
  times[0] = 1n;
  let output;
  for (let round = 1; round <= rounds; round++) {
    const began = process.hrtime.bigint();
    ({ [session.outputNames[0]]: output } = await session.run({ [session.inputNames[0]]: tensor }));
    times[round] = process.hrtime.bigint() - began;
  }
  for (const bytes of [times, output.data]) writeSync(1, new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  process.exit(0); // its threads would keep the process
}

const [model, threads, rounds] = process.argv.slice(2);
main(model, Number(threads), Number(rounds)).catch((error) => {
  console.error(error);
  process.exit(1);
});

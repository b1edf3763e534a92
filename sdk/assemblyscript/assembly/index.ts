/**
 * wasi-nn for guests in AssemblyScript: core modules.
 *
 *     import { Graph, Tensor, check } from "wasi-nn-guest/assembly";
 *
 *     const x = new Float32Array(4);
 *     x.set([0.5, -1, 2, 3]);
 *     const input = Tensor.of<Float32Array>([1, 4], x).value;
 *     const context = Graph.loadByName("net").value.context().value;
 *     check(context.setInput(0, input));
 *     check(context.compute());
 *     console.log(context.output<Float32Array>(0).value.toString());
 *
 * A function that gives something returns a `Result`, whose `value` ends the guest if there is an `error` instead. A
 * function that gives nothing returns its error, or null: `check` ends the guest for an error.
 *
 * WasmEdge's numbers and functions: `asc --use WASI_NN_WASMEDGE=1`.
 */
export * from "./context";
export * from "./description";
export * from "./error";
export * from "./graph";
export { Code, DimensionKind, ElementKind, Encoding, Target, Type, encodingNamed, nameOfCode, nameOfEncoding, nameOfType, sizeOfType } from "./numbers";
export { Tensor } from "./tensor";

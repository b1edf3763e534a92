/**
 * wasi-nn for guests in AssemblyScript: core modules.
 *
 *     import { Graph, Tensor, check } from "wasi-nn-guest/assembly";
 *
 *     const context = Graph.loadByName("mobilenet").value.context().value;
 *     check(context.setInput(0, Tensor.of<Float32Array>([1, 3, 224, 224], image).value));
 *     check(context.compute());
 *     const scores = context.output<Float32Array>(0).value;
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

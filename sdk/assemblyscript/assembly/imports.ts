// The imports of a guest. A function that a guest doesn't use isn't imported by it.


// @ts-ignore: decorator
@external("wasi_ephemeral_nn", "load")
export declare function load(builders: usize, count: u32, encoding: u32, target: u32, graph: usize): u32;
// @ts-ignore: decorator
@external("wasi_ephemeral_nn", "load_by_name")
export declare function loadByName(name: usize, size: u32, graph: usize): u32;
// @ts-ignore: decorator
@external("wasi_ephemeral_nn", "init_execution_context")
export declare function initExecutionContext(graph: u32, context: usize): u32;
// @ts-ignore: decorator
@external("wasi_ephemeral_nn", "set_input")
export declare function setInput(context: u32, index: u32, tensor: usize): u32;
// @ts-ignore: decorator
@external("wasi_ephemeral_nn", "compute")
export declare function compute(context: u32): u32;
// @ts-ignore: decorator
@external("wasi_ephemeral_nn", "get_output")
export declare function getOutput(context: u32, index: u32, buffer: usize, room: u32, size: usize): u32;

// WasmEdge's

// @ts-ignore: decorator
@external("wasi_ephemeral_nn", "load_by_name_with_config")
export declare function loadByNameWithConfig(
  name: usize, size: u32, config: usize, configSize: u32, graph: usize,
): u32;
// @ts-ignore: decorator
@external("wasi_ephemeral_nn", "compute_single")
export declare function computeSingle(context: u32): u32;
// @ts-ignore: decorator
@external("wasi_ephemeral_nn", "get_output_single")
export declare function getOutputSingle(context: u32, index: u32, buffer: usize, room: u32, size: usize): u32;
// @ts-ignore: decorator
@external("wasi_ephemeral_nn", "fini_single")
export declare function finiSingle(context: u32): u32;
// @ts-ignore: decorator
@external("wasi_ephemeral_nn", "unload")
export declare function unload(graph: u32): u32;
// @ts-ignore: decorator
@external("wasi_ephemeral_nn", "finalize_execution_context")
export declare function finalizeExecutionContext(context: u32): u32;

// The extensions

// @ts-ignore: decorator
@external("wasi_nn_ext", "describe")
export declare function describe(graph: u32, buffer: usize, room: u32, size: usize): u32;
// @ts-ignore: decorator
@external("wasi_nn_ext", "describe_output")
export declare function describeOutput(context: u32, index: u32, buffer: usize, room: u32, size: usize): u32;
// @ts-ignore: decorator
@external("wasi_nn_ext", "use_signature")
export declare function useSignature(graph: u32, name: usize, size: u32, other: usize): u32;
// @ts-ignore: decorator
@external("wasi_nn_ext", "state_get")
export declare function stateGet(graph: u32, buffer: usize, room: u32, size: usize): u32;
// @ts-ignore: decorator
@external("wasi_nn_ext", "state_set")
export declare function stateSet(graph: u32, state: usize, size: u32): u32;
// @ts-ignore: decorator
@external("wasi_nn_ext", "begin_sequence")
export declare function beginSequence(context: u32): u32;
// @ts-ignore: decorator
@external("wasi_nn_ext", "next_of_sequence")
export declare function nextOfSequence(context: u32, hasPiece: usize): u32;
// @ts-ignore: decorator
@external("wasi_nn_ext", "end_sequence")
export declare function endSequence(context: u32): u32;
// @ts-ignore: decorator
@external("wasi_nn_ext", "set_byte_strings")
export declare function setByteStrings(
  context: u32, index: u32, dims: usize, rank: u32, data: usize, size: u32,
): u32;
// @ts-ignore: decorator
@external("wasi_nn_ext", "get_byte_strings")
export declare function getByteStrings(context: u32, index: u32, buffer: usize, room: u32, size: usize): u32;

/**
 * wasi-nn for guests in JavaScript and TypeScript.
 *
 * @example
 * ```ts
 * import { Graph, Tensor } from './wasi-nn/index.js';
 * import { command, print } from './wasi-nn/wasi.js';
 *
 * export const run = command(() => {
 *   using graph = Graph.loadByName('net');
 *   using context = graph.context();
 *   context.setInputAt(0, 'x', new Tensor([1, 4], Float32Array.of(0.5, -1, 2, 3)));
 *   context.compute();
 *   print(context.output(0, 'f32').join(' '));
 * });
 * ```
 *
 * @packageDocumentation
 */

import type { Code, Encoding, Target, Type } from './words.js';

export { codes, encodings, targets, types, type Code, type Encoding, type Target, type Type } from './words.js';

/** The array that has the elements of each type. f16 and bf16 are their bits. */
export interface Arrays {
  f16: Uint16Array;
  bf16: Uint16Array;
  f32: Float32Array;
  f64: Float64Array;
  u8: Uint8Array;
  i32: Int32Array;
  i64: BigInt64Array;
}

/** A call that failed. `String(error)` has its code and its message. */
export class NNError extends Error {
  constructor(code: Code, message: string, needed?: number);
  /** The reason as a word. */
  readonly code: Code;
  /** Of a buffer that is too small: the bytes that it needs. 0 for any other error. */
  readonly needed: number;
}

/** Elements in row-major order, with dims and a type. */
export class Tensor<T extends Type = Type> {
  /**
   * @example
   * ```ts
   * new Tensor([2, 2], Float32Array.of(1, 2, 3, 4));
   * new Tensor([2], Uint16Array.of(0x3c00, 0xc000), 'f16'); // bits
   * new Tensor([1, 4], bytesOfAFile, 'f32'); // bytes of any type, little-endian
   * ```
   *
   * @param dims - A whole number for each dimension; none for a scalar.
   * @param elements - An array, which is copied, so that it may be reused.
   * @param type - The type of the elements. An array tells it, but for a Uint16Array (f16 or bf16) and an ArrayBuffer.
   * @throws {@link NNError} with `invalid-argument` if the dims don't multiply out to the number of elements, or if the
   * array has elements of another type. TypeError if it is no typed array, DataView or ArrayBuffer.
   */
  constructor(dims: Iterable<number>, elements: ArrayBufferView | ArrayBuffer, type?: T);
  /** The size of each dimension. */
  readonly dims: readonly number[];
  /** The type of the elements. */
  readonly type: T;
  /** The elements as bytes, little-endian. */
  readonly bytes: Uint8Array;
  /**
   * The elements as a new array; f16 and bf16 are their bits.
   *
   * @throws {@link NNError} with `invalid-argument` if a type is given, and the elements are of another one.
   */
  array(): Arrays[T];
  array<W extends Type>(type: W): Arrays[W];
}

/** A loaded model. `using` or `close()` gives it back; its contexts work on. */
export class Graph implements Disposable {
  private constructor();
  /**
   * Load a model from its bytes.
   *
   * @param builders - One array for most encodings, the `.xml` and the `.bin` for OpenVINO.
   * @throws {@link NNError}, such as with `security` where the host's operator doesn't allow it.
   */
  static load(builders: Iterable<ArrayBufferView | ArrayBuffer>, encoding: Encoding, target?: Target): Graph;
  /**
   * Load a graph that the host's operator named.
   *
   * @throws {@link NNError} with `not-found` if there is none of this name.
   */
  static loadByName(name: string): Graph;
  /** An execution context. Contexts know nothing of each other, unless they share variables. */
  context(): Context;
  /** What the graph is, and what inputs and outputs it has. (Extension, by `ext.js`, as all functions up to `close`.) */
  describe(): Description;
  /**
   * The graph of another signature of the model, with the same weights and variables.
   *
   * @throws {@link NNError} with `not-found` if the model has no such signature.
   */
  useSignature(name: string): Graph;
  /**
   * The variables, as the bytes of a safetensors file. Contexts that are made from now on share them.
   *
   * @throws {@link NNError} with `unsupported-operation` for a graph without any.
   */
  state(): Uint8Array;
  /**
   * Set variables to the values in a safetensors file.
   *
   * @throws {@link NNError} with `invalid-argument`, and changes nothing, for a name, a type or dimensions that the graph
   * doesn't have.
   */
  setState(content: ArrayBufferView | ArrayBuffer): void;
  /** Give the graph back. It can't be used any more; its contexts can. */
  close(): void;
  [Symbol.dispose](): void;
}

/**
 * Inputs that are set, and outputs of the last compute.
 *
 * Inputs stay set from one compute to the next. The functions that set them ask no host: `compute` throws what is wrong
 * with them. Set an input always by its index or always by its name. `using` or `close()` gives a context back.
 */
export class Context implements Disposable {
  private constructor();
  /**
   * Set an input, counted from 0 in the model's order. The host gets the decimal index as the name, which this host takes
   * and others may not.
   */
  setInput(index: number, tensor: Tensor): void;
  /** Set an input by its name. */
  setInputNamed(name: string, tensor: Tensor): void;
  /** Set the input that has this index and this name: by its name, as every host takes it. */
  setInputAt(index: number, name: string, tensor: Tensor): void;
  /** Set an input of byte strings, in row-major order; texts become UTF-8. (Extension, by `ext.js`.) */
  setStrings(index: number, dims: Iterable<number>, strings: Iterable<string | Uint8Array>): void;
  /** Set the input of byte strings that has this index and this name. (Extension.) */
  setStringsAt(index: number, name: string, dims: Iterable<number>, strings: Iterable<string | Uint8Array>): void;
  /**
   * Run the graph on the inputs that are set.
   *
   * @throws {@link NNError}, and leaves no outputs then.
   */
  compute(): void;
  /** All outputs, by name, for these inputs alone. Inputs that are set stay so; outputs of the last compute don't. */
  computeNamed(inputs: Map<string, Tensor> | Record<string, Tensor>): Map<string, Tensor>;
  /**
   * An output of the last compute, counted from 0, as a new array; f16 and bf16 are their bits.
   *
   * @throws {@link NNError} with `invalid-argument` if there is no such output, or if a type is given and the output is of
   * another one; `u8` gives the bytes of any.
   */
  output<T extends Type>(index: number, type: T): Arrays[T];
  output(index: number): Arrays[Type];
  /**
   * Copy an output into an array of its type or of bytes; gives the number of the array's elements that are set.
   *
   * @throws {@link NNError} with `too-large` if the array is too small: `needed` has the bytes that it needs.
   */
  outputInto(index: number, array: ArrayBufferView | ArrayBuffer): number;
  /** An output's name, and its elements with their type and dims. */
  outputTensor(index: number): { name: string; tensor: Tensor };
  /** An output of byte strings, in row-major order. (Extension.) */
  strings(index: number): Uint8Array[];
  /** Begin a sequence on the inputs that are set. (Extension, as all functions of sequences.) */
  beginSequence(): void;
  /** Make the next piece of the sequence, whose outputs are the context's then. False after the last piece. */
  nextOfSequence(): boolean;
  /** End a sequence early, and drop its outputs. */
  endSequence(): void;
  /**
   * The outputs of a sequence on the inputs that are set, piece by piece. It ends with the loop.
   *
   * @example
   * ```ts
   * for (const [text] of context.pieces()) print(decode(text.bytes));
   * ```
   */
  pieces(): Generator<Tensor[], void, void>;
  /** Give the context back, with its outputs. It can't be used any more. */
  close(): void;
  [Symbol.dispose](): void;
}

/** A graph, as its host describes it. */
export interface Description {
  /** `autodetect` for an encoding that wasi-nn has no word for. */
  encoding: Encoding;
  /** The ML runtime that runs the graph, such as `onnxruntime`. */
  runtime: string;
  /** The device that the graph runs on, such as `cpu`. */
  device: string;
  /** The signature that the graph runs. Empty if the model has none with a name. */
  signature: string;
  /** The names of all signatures of the model. */
  signatures: string[];
  /** In the order of their indexes. */
  inputs: TensorDescription[];
  /** In the order of their indexes. Null if the model doesn't declare them. */
  outputs: TensorDescription[] | null;
  /** What the model says about itself. Empty if the host's operator doesn't allow it. */
  metadata: Map<string, string>;
}

/** An input or output, as its host describes it. */
export type TensorDescription = {
  name: string;
  /** For each dimension its size; a name, if all of this name have the same size in a compute; or null for any size. Null
   * if even the number of dimensions is open. */
  dims: (number | string | null)[] | null;
  /** Whether the input may be left out. */
  optional: boolean;
} & (
  | { elements: 'number'; type: Type }
  /** Elements that wasi-nn has no type for, by the runtime's own name. */
  | { elements: 'native'; type: string }
  | { elements: 'byte-string' | 'any'; type: null }
);

/** The bytes of a text, as UTF-8. */
export function encode(text: string): Uint8Array;

/** The text of bytes. What isn't UTF-8 becomes U+FFFD. */
export function decode(bytes: Uint8Array): string;

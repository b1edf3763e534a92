import { Asks, answer, cell } from "./answer";
import { Code, ElementKind, nameOfType, numberOfType } from "./numbers";
import { TensorDescription, readTensor } from "./description";
import { NNError, Result, failed, failure } from "./error";
import { Graph } from "./graph";
import * as imports from "./imports";
import { Tensor } from "./tensor";

/** The memory of a tensor for `set_input`: the places and sizes of its dims and elements, and its type. */
const record: usize = memory.data(20, 4);

/** The first buffer where a host doesn't tell the size of an output, and the most bytes that are tried then. */
const FIRST_ROOM: u32 = 4096;
const MOST_ROOM: u32 = 1 << 28;

/** Inputs that are set, and outputs of the last compute. Inputs stay set from one compute to the next. */
export class Context {
  private sizes: Map<u32, u32> = new Map(); // of the outputs that were read last, by index
  private isOpen: bool = true;

  constructor(
    /** The graph, which the context keeps. */
    public readonly graph: Graph,
    /** The handle. */
    public readonly handle: u32,
  ) {}

  /**
   * Set an input, counted from 0 in the model's order.
   *
   *     check(context.setInput(0, Tensor.of<Float32Array>([1, 4], array).value));
   */
  setInput(index: u32, tensor: Tensor): NNError | null {
    const number = numberOfType(tensor.type);
    if (number < 0) {
      return new NNError(Code.UnsupportedOperation, "the core ABI has no tensors of " + nameOfType(tensor.type));
    }
    store<u32>(record, <u32>changetype<usize>(tensor.dims), 0);
    store<u32>(record, tensor.dims.length, 4);
    store<u8>(record, <u8>number, 8);
    store<u32>(record, <u32>tensor.bytes.dataStart, 12);
    store<u32>(record, tensor.bytes.byteLength, 16);
    return failure(imports.setInput(this.handle, index, record), "set_input");
  }

  /** Set an input by its name, for which the graph's description is asked. (Extension.) */
  setInputNamed(name: string, tensor: Tensor): NNError | null {
    const described = this.graph.describe();
    if (described.error) return described.error;
    const inputs = described.value.inputs;
    for (let index = 0; index < inputs.length; index++) {
      if (inputs[index].name == name) return this.setInput(index, tensor);
    }
    const names = inputs.map<string>((it) => it.name).join(", ");
    return new NNError(Code.InvalidArgument, 'no input is named "' + name + '": there are ' + names);
  }

  /** Set the input that has this index and this name. (By the index: an SDK for components goes by the name.) */
  setInputAt(index: u32, _name: string, tensor: Tensor): NNError | null {
    return this.setInput(index, tensor);
  }

  /** Run the graph on the inputs that are set. */
  compute(): NNError | null {
    return failure(imports.compute(this.handle), "compute");
  }

  /** An output of the last compute, counted from 0, taken for elements of the array's type. */
  output<T extends ArrayBufferView>(index: u32): Result<T> {
    let room = this.sizes.has(index) ? this.sizes.get(index) : 0;
    while (true) {
      const array = instantiate<T>(room / sizeof<valueof<T>>());
      const size = this.read(index, array.dataStart, array.byteLength);
      if (size.error) {
        if (size.error!.needed > 0) room = size.error!.needed;
        else if (size.error!.code != Code.TooLarge || room >= MOST_ROOM) return Result.failed<T>(size.error!);
        else room = room < FIRST_ROOM ? FIRST_ROOM : min(4 * room, MOST_ROOM); // not every host tells the size
      } else if (size.value.bytes != <u32>array.byteLength) {
        room = size.value.bytes;
      } else {
        this.sizes.set(index, room);
        return Result.of(array);
      }
      if (room % <u32>sizeof<valueof<T>>() != 0) {
        const message = "the output has " + room.toString() + " bytes, which are no whole elements";
        return Result.failed<T>(new NNError(Code.InvalidArgument, message));
      }
    }
  }

  /**
   * Copy an output into an array; gives the number of elements. Fails with `too-large` if the array is too small: the
   * error's `needed` has the bytes that it needs.
   */
  outputInto<T extends ArrayBufferView>(index: u32, array: T): Result<Size> {
    const size = this.read(index, array.dataStart, array.byteLength);
    if (!size.error) size.value.elements = size.value.bytes / sizeof<valueof<T>>();
    return size;
  }

  private read(index: u32, buffer: usize, room: u32): Result<Size> {
    store<u32>(cell, 0);
    const errno = imports.getOutput(this.handle, index, buffer, room, cell);
    const size = load<u32>(cell);
    if (errno == 0) return Result.of(new Size(size));
    if (size <= room) return Result.failed<Size>(failed(errno, "get_output"));
    const message = "the output has " + size.toString() + " bytes, the array only " + room.toString();
    return Result.failed<Size>(new NNError(Code.TooLarge, message, size));
  }

  /** An output with its name, type and dims. (Extension.) */
  outputTensor(index: u32): Result<NamedTensor> {
    const described = this.describedOutput(index);
    if (described.error) return Result.failed<NamedTensor>(described.error!);
    return this.namedOutput(index, described.value);
  }

  private describedOutput(index: u32): Result<TensorDescription> {
    const ask: Asks = (handle, index, buffer, room) => imports.describeOutput(handle, index, buffer, room, cell);
    const record = answer("describe_output", ask, this.handle, index, 1024);
    if (record.error) return Result.failed<TensorDescription>(record.error!);
    return Result.of(readTensor(record.value.dataStart));
  }

  private namedOutput(index: u32, described: TensorDescription): Result<NamedTensor> {
    if (described.elements != ElementKind.Number) {
      const message = "the output " + described.name + " isn't of numbers that wasi-nn has";
      return Result.failed<NamedTensor>(new NNError(Code.UnsupportedOperation, message));
    }
    const bytes = this.output<Uint8Array>(index);
    if (bytes.error) return Result.failed<NamedTensor>(bytes.error!);
    const dims = described.dims ? described.dims!.map<u32>((it) => it.size) : [];
    return Result.of(new NamedTensor(described.name, Tensor.made(dims, described.type, bytes.value)));
  }

  /** All outputs, by name, for these inputs. Inputs that were set before stay set. (Extension.) */
  computeNamed(inputs: Map<string, Tensor>): Result<NamedTensor[]> {
    const names = inputs.keys();
    for (let at = 0; at < names.length; at++) {
      const error = this.setInputNamed(names[at], inputs.get(names[at]));
      if (error) return Result.failed<NamedTensor[]>(error);
    }
    const error = this.compute();
    if (error) return Result.failed<NamedTensor[]>(error);
    const declared = this.graph.describe();
    if (declared.error) return Result.failed<NamedTensor[]>(declared.error!);
    const known = declared.value.outputs;
    const outputs: NamedTensor[] = [];
    while (!known || outputs.length < known.length) {
      const output = this.outputTensor(outputs.length);
      if (output.error) {
        if (!known && output.error!.code == Code.InvalidArgument) break; // there are no more
        return Result.failed<NamedTensor[]>(output.error!);
      }
      outputs.push(output.value);
    }
    return Result.of(outputs);
  }

  /** Begin a sequence on the inputs that are set. (Extension, as all functions up to `strings`.) */
  beginSequence(): NNError | null {
    return failure(imports.beginSequence(this.handle), "begin_sequence");
  }

  /** Make the next piece of the sequence, whose outputs are the context's then. `value.given` is false after the last. */
  nextOfSequence(): Result<Piece> {
    const errno = imports.nextOfSequence(this.handle, cell);
    if (errno != 0) return Result.failed<Piece>(failed(errno, "next_of_sequence"));
    return Result.of(new Piece(load<u32>(cell) != 0));
  }

  /** End a sequence early, and drop its outputs. */
  endSequence(): NNError | null {
    return failure(imports.endSequence(this.handle), "end_sequence");
  }

  /** Set an input of byte strings, in row-major order. */
  setStrings(index: u32, dims: u32[], strings: Uint8Array[]): NNError | null {
    let size = 4 * strings.length;
    for (let at = 0; at < strings.length; at++) size += strings[at].byteLength;
    const content = new Uint8Array(size);
    let end: u32 = 0;
    const base = 4 * strings.length;
    for (let at = 0; at < strings.length; at++) {
      memory.copy(content.dataStart + base + end, strings[at].dataStart, strings[at].byteLength);
      end += strings[at].byteLength;
      store<u32>(content.dataStart + 4 * at, end);
    }
    const sizes = StaticArray.fromArray(dims);
    const errno = imports.setByteStrings(
      this.handle, index, changetype<usize>(sizes), sizes.length, content.dataStart, content.byteLength,
    );
    return failure(errno, "set_byte_strings");
  }

  /** Set the input of byte strings that has this index and this name. */
  setStringsAt(index: u32, _name: string, dims: u32[], strings: Uint8Array[]): NNError | null {
    return this.setStrings(index, dims, strings);
  }

  /** An output of byte strings, in row-major order. */
  strings(index: u32): Result<Uint8Array[]> {
    const ask: Asks = (handle, index, buffer, room) => imports.getByteStrings(handle, index, buffer, room, cell);
    const content = answer("get_byte_strings", ask, this.handle, index, 0);
    if (content.error) return Result.failed<Uint8Array[]>(content.error!);
    // The ends of n strings are the first 4 n bytes; the last end is the size of what comes after them.
    const bytes = content.value, size: u32 = bytes.byteLength;
    let count: u32 = 0;
    while (count * 4 < size && (count == 0 || count * 4 + load<u32>(bytes.dataStart + count * 4 - 4) != size)) count++;
    const strings: Uint8Array[] = [];
    for (let number: u32 = 0, from: u32 = 0; number < count; number++) {
      const to = load<u32>(bytes.dataStart + number * 4);
      strings.push(bytes.slice(count * 4 + from, count * 4 + to));
      from = to;
    }
    return Result.of(strings);
  }

  /** Make the next piece of a text. Fails with `end-of-sequence` after the last one. (WasmEdge's, as all below.) */
  computeSingle(): NNError | null {
    return failure(imports.computeSingle(this.handle), "compute_single");
  }

  /** The last piece (index 0), or what is told of the sequence so far (index 1). */
  outputSingle(index: u32): Result<Uint8Array> {
    const ask: Asks = (handle, index, buffer, room) => imports.getOutputSingle(handle, index, buffer, room, cell);
    return answer("get_output_single", ask, this.handle, index, 64);
  }

  /** End a text, and forget it. */
  finiSingle(): NNError | null {
    return failure(imports.finiSingle(this.handle), "fini_single");
  }

  /** Give the context back. */
  close(): NNError | null {
    if (!this.isOpen) return null;
    this.isOpen = false;
    return failure(imports.finalizeExecutionContext(this.handle), "finalize_execution_context");
  }
}

/** The size of an output that was copied into an array. */
export class Size {
  elements: u32 = 0;

  constructor(public bytes: u32) {}
}

/** Whether a sequence gave one more piece. */
export class Piece {
  constructor(public given: bool) {}
}

/** An output with its name. */
export class NamedTensor {
  constructor(
    public name: string,
    public tensor: Tensor,
  ) {}
}

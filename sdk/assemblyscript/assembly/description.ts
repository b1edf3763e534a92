import { DimensionKind, ElementKind, Encoding, Type, encodingOf, typeOfNumber } from "./numbers";

/** A graph, as its host describes it. */
export class Description {
  /** `Autodetect` for an encoding that wasi-nn has no word for. */
  encoding: Encoding = Encoding.Autodetect;
  /** The ML runtime that runs the graph, such as `onnxruntime`. */
  runtime: string = "";
  /** The device that the graph runs on, such as `cpu`. */
  device: string = "";
  /** The signature that the graph runs. Empty if the model has none with a name. */
  signature: string = "";
  /** The names of all signatures of the model. */
  signatures: string[] = [];
  /** In the order of their indexes. */
  inputs: TensorDescription[] = [];
  /** In the order of their indexes. Null if the model doesn't declare them. */
  outputs: TensorDescription[] | null = null;
  /** What the model says about itself, by key. Empty if the host's operator doesn't allow it. */
  metadata: Map<string, string> = new Map();
}

/** An input or output, as its host describes it. */
export class TensorDescription {
  name: string = "";
  elements: ElementKind = ElementKind.Any;
  /** The type, if `elements` is `ElementKind.Number`. */
  type: Type = Type.U8;
  /** The runtime's own name of the type, if `elements` is `ElementKind.Native`. */
  native: string = "";
  /** Null if even the number of dimensions is open. */
  dims: Dimension[] | null = null;
  /** Whether the input may be left out. */
  optional: bool = false;
}

/** The size of a described dimension. */
export class Dimension {
  constructor(
    public kind: DimensionKind,
    /** The size, if `kind` is `DimensionKind.Fixed`. */
    public size: u32,
    /** The name, if `kind` is `DimensionKind.Named`: dimensions of one name have the same size in a compute. */
    public name: string,
  ) {}
}

const TENSOR_SIZE = 36;

/** The graph's description in a record that the host wrote. */
export function readGraph(at: usize): Description {
  const read = new Description();
  read.encoding = encodingOf(load<u8>(at));
  read.runtime = text(at + 4);
  read.device = text(at + 12);
  read.signature = text(at + 20);
  for (let number: u32 = 0; number < count(at + 28); number++) {
    read.signatures.push(text(first(at + 28) + 8 * number));
  }
  read.inputs = tensors(at + 36);
  if (load<u8>(at + 44) != 0) read.outputs = tensors(at + 48);
  for (let number: u32 = 0; number < count(at + 56); number++) {
    const pair = first(at + 56) + 16 * number;
    read.metadata.set(text(pair), text(pair + 8));
  }
  return read;
}

/** The description of an input or output in a record that the host wrote. */
export function readTensor(at: usize): TensorDescription {
  const read = new TensorDescription();
  read.name = text(at);
  read.elements = load<u8>(at + 8);
  if (read.elements == ElementKind.Number) {
    const type = typeOfNumber(load<u8>(at + 12));
    if (type < 0) read.elements = ElementKind.Any;
    else read.type = type;
  } else if (read.elements == ElementKind.Native) {
    read.native = text(at + 12);
  }
  if (load<u8>(at + 20) != 0) {
    const dims: Dimension[] = [];
    for (let number: u32 = 0; number < count(at + 24); number++) {
      dims.push(dimension(first(at + 24) + 12 * number));
    }
    read.dims = dims;
  }
  read.optional = load<u8>(at + 32) != 0;
  return read;
}

function dimension(at: usize): Dimension {
  const kind: DimensionKind = load<u8>(at);
  const isNamed = kind == DimensionKind.Named;
  return new Dimension(kind, kind == DimensionKind.Fixed ? load<u32>(at + 4) : 0, isNamed ? text(at + 4) : "");
}

function tensors(at: usize): TensorDescription[] {
  const read: TensorDescription[] = [];
  for (let number: u32 = 0; number < count(at); number++) {
    read.push(readTensor(first(at) + TENSOR_SIZE * number));
  }
  return read;
}

function first(at: usize): usize {
  return load<u32>(at);
}

function count(at: usize): u32 {
  return load<u32>(at + 4);
}

function text(at: usize): string {
  return String.UTF8.decodeUnsafe(first(at), count(at));
}

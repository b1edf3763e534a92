import { NNError, Result } from "./error";
import { Code, Type, nameOfType, sizeOfType } from "./numbers";

/** The type of a typed array's elements. f16 and bf16 have none: their bits are a `Uint16Array` (`Tensor.ofBits`). */
export function typeOf<T extends ArrayBufferView>(): Type {
  if (isFloat<valueof<T>>()) {
    return sizeof<valueof<T>>() == 4 ? Type.F32 : Type.F64;
  }
  if (sizeof<valueof<T>>() == 8) return Type.I64;
  if (sizeof<valueof<T>>() == 4) return Type.I32;
  if (sizeof<valueof<T>>() == 1) return Type.U8;
  return ERROR("a tensor's array is a Float32Array, Float64Array, Uint8Array, Int32Array or Int64Array");
}

/** Dims, a type, and elements in row-major order, which stay in the array that they were given in. */
export class Tensor {
  private constructor(
    public readonly dims: StaticArray<u32>,
    public readonly type: Type,
    /** The elements as bytes, little-endian. */
    public readonly bytes: Uint8Array,
  ) {}

  /**
   * A tensor of an array's elements. Fails with `invalid-argument` if the dims don't multiply out to their number.
   *
   *     const tensor = Tensor.of<Float32Array>([1, 4], array).value;
   */
  static of<T extends ArrayBufferView>(dims: u32[], array: T): Result<Tensor> {
    return Tensor.ofBytes(dims, typeOf<T>(), bytesOf(array));
  }

  /** A tensor of f16 or bf16, by the bits of its elements. */
  static ofBits(dims: u32[], type: Type, bits: Uint16Array): Result<Tensor> {
    return Tensor.ofBytes(dims, type, bytesOf(bits));
  }

  /** A tensor of any type, by the bytes of its elements. */
  static ofBytes(dims: u32[], type: Type, bytes: Uint8Array): Result<Tensor> {
    let size: u64 = sizeOfType(type);
    for (let at = 0; at < dims.length; at++) {
      size = min(size * <u64>dims[at], <u64>u32.MAX_VALUE + 1); // a product of 0 stays 0
    }
    if (size != <u64>bytes.length) {
      const message = nameOfType(type) + " [" + dims.join(", ") + "] isn't " + bytes.length.toString() + " bytes";
      return Result.failed<Tensor>(new NNError(Code.InvalidArgument, message));
    }
    return Result.of(Tensor.made(dims, type, bytes));
  }

  /** A tensor as the host gave it. */
  static made(dims: u32[], type: Type, bytes: Uint8Array): Tensor {
    return new Tensor(StaticArray.fromArray(dims), type, bytes);
  }

  /** The elements. Fails with `invalid-argument` if they are of another type. */
  array<T extends ArrayBufferView>(): Result<T> {
    if (this.type != typeOf<T>()) {
      const message = "the elements are " + nameOfType(this.type) + ", not " + nameOfType(typeOf<T>());
      return Result.failed<T>(new NNError(Code.InvalidArgument, message));
    }
    const array = instantiate<T>(this.bytes.length / sizeof<valueof<T>>());
    memory.copy(array.dataStart, this.bytes.dataStart, this.bytes.length);
    return Result.of(array);
  }
}

/** The bytes of a typed array, in their place. */
export function bytesOf<T extends ArrayBufferView>(array: T): Uint8Array {
  return Uint8Array.wrap(array.buffer, array.byteOffset, array.byteLength);
}

import { NNError, word } from './error.js';
import { sizes, types } from './words.js';

/** The arrays of each type. f16 and bf16 are their bits. */
const ARRAYS = {
  f16: Uint16Array,
  bf16: Uint16Array,
  f32: Float32Array,
  f64: Float64Array,
  u8: Uint8Array,
  i32: Int32Array,
  i64: BigInt64Array,
};

/** The types that an array tells. A Uint16Array may have f16 or bf16. */
const OF_ARRAY = {
  Float16Array: 'f16',
  Float32Array: 'f32',
  Float64Array: 'f64',
  Uint8Array: 'u8',
  Uint8ClampedArray: 'u8',
  Int32Array: 'i32',
  BigInt64Array: 'i64',
};

/** The arrays that may have the bytes of any type. */
const RAW = new Set(['Uint8Array', 'ArrayBuffer', 'DataView']);

/** Elements in row-major order, with dims and a type: index.d.ts says more. */
export class Tensor {
  constructor(dims, elements, type) {
    const [bytes, kind] = [bytesOf(elements), kindOf(elements)];
    if (type === undefined) {
      type = OF_ARRAY[kind];
      if (!type) throw new NNError('invalid-argument', `the elements of ${kind} tell no type: name one`);
    } else {
      word(types, type, 'type');
      if (!holds(kind, type)) throw new NNError('invalid-argument', `the elements of ${kind} aren't ${type}`);
    }
    this.dims = Object.freeze(dimsOf(dims, bytes.length, type));
    this.type = type;
    this.bytes = bytes.slice();
    Object.freeze(this);
  }

  array(type) {
    return arrayOf(this.bytes.slice(), this.type, type, 'the tensor');
  }
}

/** The bytes of an array or buffer, where they are. */
export function bytesOf(array) {
  if (ArrayBuffer.isView(array)) return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  if (array instanceof ArrayBuffer) return new Uint8Array(array);
  throw new TypeError('a typed array or an ArrayBuffer is needed');
}

function kindOf(array) {
  return array[Symbol.toStringTag];
}

/** Whether an array has elements of a type, or their bytes. */
function holds(kind, type) {
  return OF_ARRAY[kind] === type || ARRAYS[type].name === kind || RAW.has(kind);
}

function dimsOf(given, size, type) {
  const dims = Array.from(given);
  let count = sizes[type]; // a product that is too great for a number's digits is none of a size
  for (const dim of dims) {
    if (!Number.isInteger(dim) || dim < 0 || dim > 0xffffffff) {
      throw new NNError('invalid-argument', `${String(dim)} is no dimension`);
    }
    count *= dim;
  }
  if (count !== size) {
    const elements = Math.trunc(size / sizes[type]);
    throw new NNError('invalid-argument', `${elements} elements don't fit the dims [${dims.join(', ')}]`);
  }
  return dims;
}

/** Bytes as an array of their type, or as bytes where u8 is wanted. It has the bytes' own memory where it can. */
export function arrayOf(bytes, has, wanted, what) {
  if (wanted !== undefined && wanted !== 'u8' && word(types, wanted, 'type') !== has) {
    throw new NNError('invalid-argument', `${what} is of ${has}, not of ${wanted}`);
  }
  const type = ARRAYS[wanted ?? has];
  const own = bytes.byteOffset % type.BYTES_PER_ELEMENT === 0 ? bytes : bytes.slice();
  return new type(own.buffer, own.byteOffset, own.length / type.BYTES_PER_ELEMENT);
}

/** Copy bytes into an array of their type or of bytes; gives the number of its elements that are set. */
export function copyInto(bytes, has, array, what) {
  const [room, kind] = [bytesOf(array), kindOf(array)];
  if (!holds(kind, has)) throw new NNError('invalid-argument', `${what} is of ${has}, the array is a ${kind}`);
  if (bytes.length > room.length) {
    throw new NNError('too-large', `${what} has ${bytes.length} bytes, the array only ${room.length}`, bytes.length);
  }
  room.set(bytes);
  return bytes.length / (array.BYTES_PER_ELEMENT ?? 1);
}

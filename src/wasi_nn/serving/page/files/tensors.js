// Tensors as the protocol has them: numbers little-endian and row-major, strings each behind its length.

import { ServerError, ask, modelPath } from "./server.js";

const MOST_NUMBERS = 2 ** 26;
const JSON_SIZE = "Inference-Header-Content-Length";

const WRITERS = {
  BOOL: [1, (view, at, value) => view.setUint8(at, value ? 1 : 0)],
  UINT8: [1, (view, at, value) => view.setUint8(at, value)],
  INT8: [1, (view, at, value) => view.setInt8(at, value)],
  UINT16: [2, (view, at, value) => view.setUint16(at, value, true)],
  INT16: [2, (view, at, value) => view.setInt16(at, value, true)],
  UINT32: [4, (view, at, value) => view.setUint32(at, value, true)],
  INT32: [4, (view, at, value) => view.setInt32(at, value, true)],
  UINT64: [8, (view, at, value) => view.setBigUint64(at, value, true)],
  INT64: [8, (view, at, value) => view.setBigInt64(at, value, true)],
  FP16: [2, (view, at, value) => view.setUint16(at, toHalf(value), true)],
  BF16: [2, (view, at, value) => view.setUint16(at, toBrain(value), true)],
  FP32: [4, (view, at, value) => view.setFloat32(at, value, true)],
  FP64: [8, (view, at, value) => view.setFloat64(at, value, true)],
};

const READERS = {
  BOOL: (view, at) => view.getUint8(at),
  UINT8: (view, at) => view.getUint8(at),
  INT8: (view, at) => view.getInt8(at),
  UINT16: (view, at) => view.getUint16(at, true),
  INT16: (view, at) => view.getInt16(at, true),
  UINT32: (view, at) => view.getUint32(at, true),
  INT32: (view, at) => view.getInt32(at, true),
  UINT64: (view, at) => view.getBigUint64(at, true),
  INT64: (view, at) => view.getBigInt64(at, true),
  FP16: (view, at) => fromHalf(view.getUint16(at, true)),
  BF16: (view, at) => fromBits(view.getUint16(at, true) * 65536),
  FP32: (view, at) => view.getFloat32(at, true),
  FP64: (view, at) => view.getFloat64(at, true),
};

const RANGES = {
  UINT8: [0n, 255n], INT8: [-128n, 127n], UINT16: [0n, 65535n], INT16: [-32768n, 32767n],
  UINT32: [0n, 2n ** 32n - 1n], INT32: [-(2n ** 31n), 2n ** 31n - 1n],
  UINT64: [0n, 2n ** 64n - 1n], INT64: [-(2n ** 63n), 2n ** 63n - 1n],
};

export const NUMBERS = Object.keys(WRITERS);
export const isFloat = (datatype) => ["FP16", "BF16", "FP32", "FP64"].includes(datatype);

// A mistake of the person who fills the form.
export class Mistake extends Error {}

export function elementsOf(shape) {
  const elements = shape.reduce((product, dim) => product * dim, 1);
  if (elements > MOST_NUMBERS) throw new Mistake(`A tensor of ${elements} elements is too large for this page.`);
  return elements;
}

// The bytes of numbers; `values` are numbers, or BigInts for integers.
export function encodeNumbers(datatype, values) {
  const [size, write] = WRITERS[datatype];
  const view = new DataView(new ArrayBuffer(size * values.length));
  const isBig = datatype === "UINT64" || datatype === "INT64";
  const isInteger = datatype in RANGES;
  for (let place = 0; place < values.length; place++) {
    let value = values[place];
    if (isInteger && typeof value === "number") value = isBig ? BigInt(Math.round(value)) : Math.round(value);
    if (isInteger) requireRange(datatype, value);
    write(view, place * size, isBig ? BigInt(value) : Number(value));
  }
  return new Uint8Array(view.buffer);
}

function requireRange(datatype, value) {
  const [least, most] = RANGES[datatype];
  if (value < least || value > most) throw new Mistake(`${value} is no ${datatype}: the range is ${least} to ${most}.`);
}

export function encodeStrings(strings) {
  const parts = strings.map((each) => (typeof each === "string" ? new TextEncoder().encode(each) : each));
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + 4 + part.length, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const part of parts) {
    view.setUint32(at, part.length, true);
    bytes.set(part, at + 4);
    at += 4 + part.length;
  }
  return bytes;
}

// The numbers in a text: with commas, spaces, line breaks or brackets between them.
export function parseNumbers(datatype, text) {
  const words = text.replace(/[[\](),;]/g, " ").split(/\s+/).filter(Boolean);
  return words.map((word) => {
    const lower = word.toLowerCase();
    if (datatype === "BOOL" && (lower === "true" || lower === "false")) return lower === "true" ? 1 : 0;
    if (datatype in RANGES) {
      if (!/^[+-]?\d+$/.test(word)) throw new Mistake(`“${word.slice(0, 40)}” is no whole number.`);
      return BigInt(word.replace("+", ""));
    }
    const value = /^[+-]?(inf|infinity)$/.test(lower) ? (lower[0] === "-" ? -Infinity : Infinity) : lower === "nan" ? NaN : Number(word);
    if (Number.isNaN(value) && lower !== "nan") throw new Mistake(`“${word.slice(0, 40)}” is no number.`);
    return value;
  });
}

export function parseShape(text) {
  const words = text.replace(/[[\]()x×,]/g, " ").split(/\s+/).filter(Boolean);
  return words.map((word) => {
    if (!/^\d{1,10}$/.test(word)) throw new Mistake(`“${word.slice(0, 40)}” is no dimension: a shape is such as 1, 3, 224, 224.`);
    return Number(word);
  });
}

// Send tensors ({name, datatype, shape, bytes}) to a model; the answer has `outputs` of the same form.
export async function infer(model, inputs, signal) {
  const head = new TextEncoder().encode(JSON.stringify({
    inputs: inputs.map(({ name, datatype, shape, bytes }) => ({ name, datatype, shape, parameters: { binary_data_size: bytes.length } })),
    parameters: { binary_data_output: true },
  }));
  const headers = { "Content-Type": "application/octet-stream", [JSON_SIZE]: String(head.length) };
  const body = new Blob([head, ...inputs.map(({ bytes }) => bytes)]);
  const response = await ask(`${modelPath(model)}/infer`, { method: "POST", headers, body, signal });
  const answer = new Uint8Array(await response.arrayBuffer());
  const size = Number(response.headers.get(JSON_SIZE) ?? answer.length);
  const { outputs } = JSON.parse(new TextDecoder().decode(answer.subarray(0, size)));
  let at = size;
  for (const output of outputs) {
    const length = output.parameters?.binary_data_size;
    if (length === undefined) throw new ServerError("The answer has an output without binary data.", 0);
    output.bytes = answer.slice(at, at + length);
    at += length;
  }
  return { outputs, id: response.headers.get("X-Request-ID") };
}

// The elements of a tensor, at most `most` of them: numbers, BigInts, or bytes of strings.
export function decode({ datatype, bytes }, most = Infinity) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const values = [];
  if (datatype === "BYTES") {
    for (let at = 0; at + 4 <= bytes.length && values.length < most;) {
      const length = view.getUint32(at, true);
      values.push(bytes.subarray(at + 4, at + 4 + length));
      at += 4 + length;
    }
    return values;
  }
  const size = WRITERS[datatype][0];
  const end = Math.min(bytes.length, size * most);
  for (let at = 0; at + size <= end; at += size) values.push(READERS[datatype](view, at));
  return values;
}

// A tensor of numbers as a file of numpy's.
export function asNpy({ datatype, shape, bytes }) {
  const kinds = { BOOL: "|b1", UINT8: "|u1", INT8: "|i1", FP16: "<f2", FP32: "<f4", FP64: "<f8" };
  const integer = /^(U?)INT(16|32|64)$/.exec(datatype);
  const kind = integer ? `<${integer[1] ? "u" : "i"}${integer[2] / 8}` : kinds[datatype];
  if (!kind) return null;
  const dims = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  let head = `{'descr': '${kind}', 'fortran_order': False, 'shape': (${dims}), }`;
  head = head.padEnd(Math.ceil((head.length + 11) / 64) * 64 - 11) + "\n";
  const start = new Uint8Array([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, head.length & 255, head.length >> 8]);
  return new Blob([start, head, bytes], { type: "application/octet-stream" });
}

const scratch = new DataView(new ArrayBuffer(4));

function bitsOf(value) {
  scratch.setFloat32(0, value);
  return scratch.getUint32(0);
}

function fromBits(bits) {
  scratch.setUint32(0, bits);
  return scratch.getFloat32(0);
}

// The nearest bfloat16, ties to even.
function toBrain(value) {
  if (Number.isNaN(value)) return 0x7fc0;
  const bits = bitsOf(value);
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

// The nearest half, ties to even.
function toHalf(value) {
  if (Number.isNaN(value)) return 0x7e00;
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (size >= 65520) return sign | 0x7c00;
  const power = Math.max(-14, Math.floor(Math.log2(size || 1e-30)));
  const step = 2 ** (power - 10);
  const steps = roundEven(size / step);
  if (power === -14 && steps < 1024) return sign | steps;
  return sign + ((power + 15) << 10) + (steps - 1024); // 2048 steps carry into the power
}

function roundEven(value) {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2) ? floor + 1 : floor;
}

function fromHalf(half) {
  const sign = half & 0x8000 ? -1 : 1;
  const power = (half >> 10) & 31;
  const part = half & 1023;
  if (power === 31) return part ? NaN : sign * Infinity;
  return sign * (power ? (1 + part / 1024) * 2 ** (power - 15) : part * 2 ** -24);
}

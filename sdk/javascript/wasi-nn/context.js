import { Tensor as WitTensor } from 'wasi:nn/tensor@0.2.0-rc-2024-10-28';
import { NNError, call, forgotten, name, release } from './error.js';
import { extension } from './extensions.js';
import { Tensor, arrayOf, bytesOf, copyInto } from './tensor.js';
import { encode } from './text.js';
import { ofTypes, witTypes } from './words.js';

/** Inputs that are set, and outputs of the last compute: index.d.ts says more. */
export class Context {
  #resource;
  #inputs = new Map(); // from names to functions that make tensors
  #outputs = [];
  #sequence = null;

  /** @private */
  constructor(resource) {
    this.#resource = resource;
    forgotten?.register(this, resource, this);
  }

  // Inputs

  setInput(index, tensor) {
    this.setInputNamed(String(index), tensor);
  }

  setInputNamed(given, tensor) {
    require(tensor);
    this.#end();
    this.#inputs.set(name(given), () => made(tensor));
  }

  setInputAt(index, given, tensor) {
    this.setInputNamed(given, tensor);
  }

  setStrings(index, dims, strings) {
    this.setStringsAt(index, String(index), dims, strings);
  }

  setStringsAt(index, given, dims, strings) {
    const { newStrings } = extension('byte-strings');
    const texts = Array.from(strings, (it) => (typeof it === 'string' ? encode(it) : bytesOf(it).slice()));
    const sizes = Array.from(dims);
    if (!sizes.every((it) => Number.isInteger(it) && it >= 0 && it <= 0xffffffff)) {
      throw new NNError('invalid-argument', `[${sizes.join(', ')}] are no dims`);
    }
    this.#end();
    this.#inputs.set(name(given), () => call(() => newStrings(sizes, texts)));
  }

  // Computes

  compute() {
    this.#end();
    this.#dropOutputs();
    this.#computeWith(this.#inputs);
  }

  computeNamed(inputs) {
    this.#end();
    this.#dropOutputs();
    const makers = new Map();
    for (const [given, tensor] of inputs instanceof Map ? inputs : Object.entries(inputs)) {
      require(tensor);
      makers.set(name(given), () => made(tensor));
    }
    this.#computeWith(makers);
    try {
      return new Map(this.#outputs.map((_, index) => Object.values(this.outputTensor(index))));
    } finally {
      this.#dropOutputs();
    }
  }

  #computeWith(makers) {
    const handle = this.#handle();
    const inputs = madeOf(makers);
    this.#outputs = Array.from(call(() => handle.compute(inputs)));
  }

  // Outputs

  output(index, type) {
    const [named, tensor] = this.#found(index);
    return arrayOf(tensor.data(), typeOf(tensor), type, `the output ${named}`);
  }

  outputInto(index, array) {
    const [named, tensor] = this.#found(index);
    return copyInto(tensor.data(), typeOf(tensor), array, `the output ${named}`);
  }

  outputTensor(index) {
    const [named, tensor] = this.#found(index);
    return { name: named, tensor: new Tensor(tensor.dimensions(), tensor.data(), typeOf(tensor)) };
  }

  strings(index) {
    const { strings } = extension('byte-strings');
    const [, tensor] = this.#found(index);
    return Array.from(call(() => strings(tensor)));
  }

  // Sequences

  beginSequence() {
    const { begin } = extension('sequences');
    this.#end();
    this.#dropOutputs();
    const handle = this.#handle();
    const inputs = madeOf(this.#inputs);
    this.#sequence = call(() => begin(handle, inputs));
  }

  nextOfSequence() {
    const sequence = this.#sequence;
    if (!sequence) throw new NNError('invalid-argument', 'no sequence is under way');
    this.#dropOutputs();
    let outputs;
    try {
      outputs = call(() => sequence.next());
    } catch (error) {
      this.#end();
      throw error;
    }
    this.#outputs = Array.from(outputs ?? []);
    return outputs != null;
  }

  endSequence() {
    if (!this.#sequence) return;
    this.#end();
    this.#dropOutputs();
  }

  *pieces() {
    this.beginSequence();
    try {
      while (this.nextOfSequence()) yield this.#outputs.map((_, index) => this.outputTensor(index).tensor);
    } finally {
      this.endSequence();
    }
  }

  // Freeing

  close() {
    this.#inputs.clear();
    this.#end();
    this.#dropOutputs();
    if (!this.#resource) return;
    forgotten?.unregister(this);
    release(this.#resource);
    this.#resource = null;
  }

  [Symbol.dispose]() {
    this.close();
  }

  #handle() {
    if (!this.#resource) throw new NNError('invalid-argument', 'the context is closed');
    return this.#resource;
  }

  #found(index) {
    this.#handle();
    const count = this.#outputs.length;
    if (!count) throw new NNError('runtime-error', 'there is no output: compute first');
    const found = Number.isInteger(index) ? this.#outputs[index] : undefined;
    if (!found) throw new NNError('invalid-argument', `no output has the index ${String(index)}: there are ${count}`);
    return found;
  }

  #dropOutputs() {
    const outputs = this.#outputs;
    this.#outputs = [];
    for (const [, tensor] of outputs) release(tensor);
  }

  #end() {
    if (this.#sequence) release(this.#sequence);
    this.#sequence = null;
  }
}

function require(tensor) {
  if (!(tensor instanceof Tensor)) throw new TypeError('the input is no Tensor');
}

function made(tensor) {
  return new WitTensor(tensor.dims.slice(), ofTypes[tensor.type], tensor.bytes);
}

/** Tensors of all inputs, which a call takes. */
function madeOf(makers) {
  const inputs = [];
  try {
    for (const [given, make] of makers) inputs.push([given, make()]);
  } catch (error) {
    for (const [, tensor] of inputs) release(tensor);
    throw error;
  }
  return inputs;
}

function typeOf(tensor) {
  return witTypes[tensor.ty()];
}

import { load, loadByName } from 'wasi:nn/graph@0.2.0-rc-2024-10-28';
import { Context } from './context.js';
import { NNError, call, forgotten, name, release, word } from './error.js';
import { extension } from './extensions.js';
import { bytesOf } from './tensor.js';
import { encodings, targets } from './words.js';

/** A loaded model: index.d.ts says more. */
export class Graph {
  #resource;

  /** @private */
  constructor(resource) {
    this.#resource = resource;
    forgotten?.register(this, resource, this);
  }

  static load(builders, encoding, target = 'cpu') {
    const parts = Array.from(builders, bytesOf);
    word(encodings, encoding, 'encoding');
    word(targets, target, 'target');
    return new Graph(call(() => load(parts, encoding, target)));
  }

  static loadByName(given) {
    name(given);
    return new Graph(call(() => loadByName(given)));
  }

  context() {
    const handle = this.#handle();
    return new Context(call(() => handle.initExecutionContext()));
  }

  describe() {
    const { describe } = extension('describe');
    const handle = this.#handle();
    return describe(call, handle);
  }

  useSignature(given) {
    const { useSignature } = extension('signatures');
    const handle = this.#handle();
    name(given);
    return new Graph(call(() => useSignature(handle, given)));
  }

  state() {
    const { stateGet } = extension('state');
    const handle = this.#handle();
    return call(() => stateGet(handle));
  }

  setState(content) {
    const { stateSet } = extension('state');
    const [handle, bytes] = [this.#handle(), bytesOf(content)];
    call(() => stateSet(handle, bytes));
  }

  close() {
    if (!this.#resource) return;
    forgotten?.unregister(this);
    release(this.#resource);
    this.#resource = null;
  }

  [Symbol.dispose]() {
    this.close();
  }

  #handle() {
    if (!this.#resource) throw new NNError('invalid-argument', 'the graph is closed');
    return this.#resource;
  }
}

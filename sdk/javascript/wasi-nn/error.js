import { codes } from './words.js';

/** A call that failed: index.d.ts says more. */
export class NNError extends Error {
  constructor(code, message, needed = 0) {
    super(message);
    this.code = code;
    this.needed = needed;
  }

  get name() {
    return 'NNError';
  }

  toString() {
    return `${this.code}: ${this.message}`;
  }
}

/** What a function of the host's gives. Its error is thrown as an `NNError`. */
export function call(action) {
  try {
    return action();
  } catch (failure) {
    const error = failure?.payload ?? failure;
    if (typeof error?.data !== 'function' || typeof error.code !== 'function') throw failure;
    const [code, message] = [error.code(), error.data()];
    release(error);
    throw new NNError(codes.includes(code) ? code : 'unknown', message);
  }
}

/** Give a resource of the host's back. */
export function release(resource) {
  resource[Symbol.dispose]?.();
}

/** A word of a table. A host's bindings trap for any other one. */
export function word(table, given, what) {
  if (table.includes(given)) return given;
  throw new NNError('invalid-argument', `no ${what} is ${String(given)}: there are ${table.join(', ')}`);
}

/** A name that the host can take: a text without halves of characters. */
export function name(given) {
  if (typeof given !== 'string') throw new TypeError(`a name is a string, not ${typeof given}`);
  if (/[\ud800-\udfff]/u.test(given)) throw new NNError('invalid-argument', 'the name has half of a character');
  return given;
}

/** Gives resources back that nobody closed, once their owners are gone, where the engine can tell. */
export const forgotten = typeof FinalizationRegistry === 'function' ? new FinalizationRegistry(release) : null;

import { NNError } from './error.js';

/** The functions of wasi-nn:ext by their interfaces. ext.js puts them here: a world without them has no such module. */
export const extensions = {};

/** The functions of an interface. Throws `unsupported-operation` in a guest that doesn't import ext.js. */
export function extension(interfaceName) {
  const functions = extensions[interfaceName];
  if (functions) return functions;
  const message = `the guest was built without wasi-nn:ext/${interfaceName}: import wasi-nn/ext.js, and take the world guest-ext`;
  throw new NNError('unsupported-operation', message);
}

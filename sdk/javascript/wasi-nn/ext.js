/**
 * wasi-nn with its extensions, for the world `guest-ext`: all of index.js, where a graph can be described, and so on.
 *
 *     import { Graph } from './wasi-nn/ext.js';
 *
 *     const { inputs } = Graph.loadByName('net').describe();
 */

import { new as newStrings, strings } from 'wasi-nn:ext/byte-strings@0.1.0';
import { describe } from 'wasi-nn:ext/describe@0.1.0';
import { begin } from 'wasi-nn:ext/sequences@0.1.0';
import { useSignature } from 'wasi-nn:ext/signatures@0.1.0';
import { stateGet, stateSet } from 'wasi-nn:ext/state@0.1.0';
import { extensions } from './extensions.js';
import { witTypes } from './words.js';

extensions['byte-strings'] = { newStrings, strings };
extensions.describe = { describe: (call, handle) => descriptionOf(call(() => describe(handle))) };
extensions.sequences = { begin };
extensions.signatures = { useSignature };
extensions.state = { stateGet, stateSet };

function descriptionOf(told) {
  const { encoding, runtime, device, signature, signatures, inputs, outputs, metadata } = told;
  return {
    encoding,
    runtime,
    device,
    signature,
    signatures: Array.from(signatures),
    inputs: Array.from(inputs, tensorOf),
    outputs: outputs == null ? null : Array.from(outputs, tensorOf),
    metadata: new Map(metadata),
  };
}

function tensorOf({ name, elementType, dimensions, optional }) {
  const dims = dimensions == null ? null : Array.from(dimensions, ({ val }) => val ?? null);
  return { name, ...elementsOf(elementType), dims, optional };
}

function elementsOf({ tag, val }) {
  if (tag === 'number') return { elements: tag, type: witTypes[val] };
  return tag === 'native' ? { elements: tag, type: val } : { elements: tag, type: null };
}

export * from './index.js';

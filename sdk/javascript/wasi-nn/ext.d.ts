/**
 * All of `index.js`, with the functions of the extensions, for components of the world `guest-ext`.
 *
 * @example
 * ```ts
 * import { Graph } from './wasi-nn/ext.js';
 *
 * const { inputs } = Graph.loadByName('net').describe();
 * ```
 *
 * @packageDocumentation
 */

export * from './index.js';

/**
 * A program's arguments, files and output, by WASI 0.2: not every engine has a `console`.
 *
 * @example
 * ```ts
 * import { args, command, print } from './wasi-nn/wasi.js';
 *
 * export const run = command(() => print(args().join(' ')));
 * ```
 *
 * @packageDocumentation
 */

/**
 * The component's export `run`, which a host calls. An error that the program doesn't catch is told on standard error, and
 * the exit code is 1 then: WASI 0.2 has no other codes than 0 and 1.
 */
export function command(main: () => void): { run(): void };

/** End the program with a line on standard error, and the exit code 1. */
export function fail(message: string): never;

/** The arguments, without the program's own name. */
export function args(): string[];

/** Write a line to standard output. */
export function print(text: unknown): void;

/** Write a line to standard error. */
export function printError(text: unknown): void;

/** The content of a file in one of the directories that the host gave. Throws an Error that begins with the path. */
export function readFile(path: string): Uint8Array;

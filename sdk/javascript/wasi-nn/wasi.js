/**
 * A program's arguments, files and output, by WASI 0.2: not every engine has a `console`.
 *
 *     export const run = command(() => print(args().join(' ')));
 */

import { getArguments } from 'wasi:cli/environment@0.2.0';
import { getStderr } from 'wasi:cli/stderr@0.2.0';
import { getStdout } from 'wasi:cli/stdout@0.2.0';
import { getDirectories } from 'wasi:filesystem/preopens@0.2.0';
import { NNError, release } from './error.js';
import { encode } from './text.js';

const CHUNK = 1 << 20;
const LINE = 4096; // the most that a blocking write takes
const u64 = '__cqjs' in globalThis ? Number : BigInt; // componentize-qjs takes numbers, all others take a BigInt

/** The component's export `run`, which a host calls. */
export function command(main) {
  return {
    run() {
      try {
        main();
      } catch (error) {
        printError(told(error));
        throw undefined; // an exit code of 1
      }
    },
  };
}

function told(error) {
  if (error instanceof NNError || error instanceof Failure) return String(error);
  return error instanceof Error ? `${error.name}: ${error.message}\n${error.stack ?? ''}`.trimEnd() : String(error);
}

class Failure extends Error {
  toString() {
    return this.message;
  }
}

/** End the program with a line on standard error, and the exit code 1. */
export function fail(message) {
  throw new Failure(message);
}

/** The arguments, without the program's own name. */
export function args() {
  return Array.from(getArguments()).slice(1);
}

/** Write a line to standard output. */
export function print(text) {
  write(getStdout(), encode(`${text}\n`));
}

/** Write a line to standard error. */
export function printError(text) {
  write(getStderr(), encode(`${text}\n`));
}

function write(stream, bytes) {
  for (let at = 0; at < bytes.length; at += LINE) stream.blockingWriteAndFlush(bytes.slice(at, at + LINE));
  release(stream);
}

/** The content of a file in one of the directories that the host gave. Throws an Error with the path. */
export function readFile(path) {
  const directories = Array.from(getDirectories());
  try {
    const [directory, rest] = found(directories, path);
    const file = directory.openAt({ symlinkFollow: true }, rest, {}, { read: true });
    try {
      return contentOf(file);
    } finally {
      release(file);
    }
  } catch (failure) {
    if (failure instanceof Error && failure.payload === undefined) throw failure;
    throw new Error(`${path} can't be read: ${String(failure?.payload ?? failure)}`);
  } finally {
    for (const [directory] of directories) release(directory);
  }
}

/** The directory that a path is in, and the rest of the path. */
function found(directories, path) {
  for (const [directory, given] of directories) {
    if (given === '.' && !path.startsWith('/')) return [directory, path];
    const prefix = given.endsWith('/') ? given : `${given}/`;
    if (path.startsWith(prefix)) return [directory, path.slice(prefix.length)];
  }
  throw new Error(`${path} can't be read: the host gave no directory for it`);
}

function contentOf(file) {
  const parts = [];
  let size = 0;
  for (let ended = false; !ended; ) {
    const [part, isEnd] = file.read(u64(CHUNK), u64(size));
    ended = isEnd || part.length === 0;
    parts.push(part);
    size += part.length;
  }
  const content = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    content.set(part, at);
    at += part.length;
  }
  return content;
}

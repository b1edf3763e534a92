import { NNError, Result, failed } from "./error";

/** The place for a number that the host writes. */
export const cell: usize = memory.data(4, 4);

/** A function that writes an answer of unknown size into a buffer, and its size into `cell`. */
export type Asks = (handle: u32, index: u32, buffer: usize, room: u32) => u32;

/** The answer of a function, whose first buffer has `room` bytes. */
export function answer(what: string, ask: Asks, handle: u32, index: u32, room: u32): Result<Uint8Array> {
  while (true) {
    const bytes = new Uint8Array(room);
    store<u32>(cell, 0);
    const errno = ask(handle, index, bytes.dataStart, room);
    const size = load<u32>(cell);
    if (errno == 0) return Result.of(bytes.subarray(0, size));
    if (size <= room) return Result.failed<Uint8Array>(failed(errno, what));
    room = size;
  }
}

// Files of the guest's directory, its standard input and error: AssemblyScript's shim for WASI has no functions for them.

// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "path_open")
declare function pathOpen(
  directory: u32, flags: u32, path: usize, size: u32, how: u32, rights: u64, inherited: u64, fdFlags: u32, opened: usize,
): u32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "fd_read")
declare function fdRead(file: u32, buffers: usize, count: u32, size: usize): u32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "fd_write")
declare function fdWrite(file: u32, buffers: usize, count: u32, size: usize): u32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "fd_close")
declare function fdClose(file: u32): u32;

const DIRECTORY = 3; // the first that the host opened
const READ: u64 = 1 << 1;
const FOLLOW_LINKS = 1;
const CHUNK = 65536;

const number: usize = memory.data(4, 4);
const byte: usize = memory.data(1, 1);
const buffers: usize = memory.data(8, 4);

/** The content of a file; null if it can't be read. */
export function readFile(path: string): Uint8Array | null {
  const name = String.UTF8.encode(path);
  if (pathOpen(DIRECTORY, FOLLOW_LINKS, changetype<usize>(name), name.byteLength, 0, READ, 0, 0, number) != 0) return null;
  const file = load<u32>(number);
  let content = new Uint8Array(CHUNK), end = 0, errno: u32 = 0;
  while (true) {
    if (content.length - end < CHUNK) {
      const larger = new Uint8Array(2 * content.length);
      larger.set(content);
      content = larger;
    }
    store<u32>(buffers, <u32>content.dataStart + end, 0);
    store<u32>(buffers, content.length - end, 4);
    errno = fdRead(file, buffers, 1, number);
    if (errno != 0 || load<u32>(number) == 0) break;
    end += load<u32>(number);
  }
  fdClose(file);
  return errno == 0 ? content.slice(0, end) : null;
}

/** The next line of the standard input, without its end; null after the last one. */
export function readLine(): string | null {
  const line: u8[] = [];
  while (true) {
    store<u32>(buffers, <u32>byte, 0);
    store<u32>(buffers, 1, 4);
    if (fdRead(0, buffers, 1, number) != 0) fail("the standard input can't be read");
    if (load<u32>(number) == 0 && line.length == 0) return null;
    if (load<u32>(number) == 0 || load<u8>(byte) == 0x0a) return String.UTF8.decodeUnsafe(line.dataStart, line.length);
    line.push(load<u8>(byte));
  }
}

/** Ends the guest with a message. */
export function fail(message: string, code: i32 = 1): void {
  const line = String.UTF8.encode(message + "\n"); // the shim's `console.error` writes to standard output
  store<u32>(buffers, <u32>changetype<usize>(line), 0);
  store<u32>(buffers, line.byteLength, 4);
  fdWrite(2, buffers, 1, number);
  process.exit(code);
}

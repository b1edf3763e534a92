import { Code, codeOf, nameOfCode, textOfCode } from "./numbers";

/** A call that failed. AssemblyScript has no exceptions that a program could catch, so functions return their errors. */
export class NNError {
  constructor(
    /** The reason as a code. */
    public code: Code,
    /** The function that failed, and what the code means. The host's log has the reason. */
    public message: string,
    /** Of a buffer that is too small: the bytes that it needs. 0 for any other error. */
    public needed: u32 = 0,
  ) {}

  /** The code as a word, such as `not-found`. */
  get name(): string {
    return nameOfCode(this.code);
  }

  toString(): string {
    return this.name + ": " + this.message;
  }
}

/** A value, or the error of the call that should have made it. */
export class Result<T> {
  private constructor(
    private given: T | null,
    /** The error, or null if there is a value. */
    public readonly error: NNError | null,
  ) {}

  static of<T>(value: T): Result<T> {
    return new Result<T>(value, null);
  }

  static failed<T>(error: NNError): Result<T> {
    return new Result<T>(null, error);
  }

  /** The value. Without one, the guest ends: it prints the error and traps. */
  get value(): T {
    check(this.error);
    return this.given!;
  }
}

/** End the guest if there is an error: print the error, and trap. */
export function check(error: NNError | null): void {
  if (error) {
    abort(error.toString());
  }
}

/** The error of an errno; null for 0. */
export function failure(errno: u32, what: string): NNError | null {
  return errno == 0 ? null : failed(errno, what);
}

/** The error of an errno that isn't 0. */
export function failed(errno: u32, what: string): NNError {
  const code = codeOf(errno);
  return new NNError(code, what + ": " + (code == Code.Unknown ? "errno " + errno.toString() : textOfCode(code)));
}

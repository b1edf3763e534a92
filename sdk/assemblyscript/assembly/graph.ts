import { Asks, answer, cell } from "./answer";
import { Context } from "./context";
import { Description, readGraph } from "./description";
import { NNError, Result, failed, failure } from "./error";
import * as imports from "./imports";
import { Encoding, Target, numberOfEncoding, numberOfTarget } from "./numbers";

/** How many graphs of this guest have each handle: with WasmEdge's functions, all graphs of one name have the same. */
const holders = new Map<u32, u32>();

/**
 * A model that is loaded.
 *
 *     const graph = Graph.loadByName("mobilenet").value;
 *     const context = graph.context().value;
 */
export class Graph {
  private described: Description | null = null;
  private isOpen: bool = true;

  private constructor(
    /** The handle. */
    public readonly handle: u32,
  ) {
    holders.set(handle, (holders.has(handle) ? holders.get(handle) : 0) + 1);
  }

  /** Load a model from its own bytes: one array for each of its files. */
  static load(builders: Uint8Array[], encoding: Encoding, target: Target = Target.Cpu): Result<Graph> {
    const list = new StaticArray<u32>(2 * builders.length);
    for (let at = 0; at < builders.length; at++) {
      list[2 * at] = <u32>builders[at].dataStart;
      list[2 * at + 1] = builders[at].byteLength;
    }
    const numbers = changetype<usize>(list);
    const errno = imports.load(numbers, builders.length, numberOfEncoding(encoding), numberOfTarget(target), cell);
    return Graph.made(errno, "load");
  }

  /** Load a model that the host's operator named. */
  static loadByName(name: string): Result<Graph> {
    const text = String.UTF8.encode(name);
    return Graph.made(imports.loadByName(changetype<usize>(text), text.byteLength, cell), "load_by_name");
  }

  /** Load a named model with a configuration in JSON. (WasmEdge's.) */
  static loadByNameWithConfig(name: string, config: string): Result<Graph> {
    const text = String.UTF8.encode(name), json = String.UTF8.encode(config);
    const errno = imports.loadByNameWithConfig(
      changetype<usize>(text), text.byteLength, changetype<usize>(json), json.byteLength, cell,
    );
    return Graph.made(errno, "load_by_name_with_config");
  }

  private static made(errno: u32, what: string): Result<Graph> {
    return errno == 0 ? Result.of(new Graph(load<u32>(cell))) : Result.failed<Graph>(failed(errno, what));
  }

  /** A new execution context. */
  context(): Result<Context> {
    const errno = imports.initExecutionContext(this.handle, cell);
    if (errno != 0) return Result.failed<Context>(failed(errno, "init_execution_context"));
    return Result.of(new Context(this, load<u32>(cell)));
  }

  /** What the host tells about the graph. (Extension.) */
  describe(): Result<Description> {
    const described = this.described;
    if (described) return Result.of<Description>(described);
    const ask: Asks = (handle, _, buffer, room) => imports.describe(handle, buffer, room, cell);
    const record = answer("describe", ask, this.handle, 0, 1024);
    if (record.error) return Result.failed<Description>(record.error!);
    const read = readGraph(record.value.dataStart);
    this.described = read;
    return Result.of(read);
  }

  /** The graph of another signature of the model, with the same variables. (Extension.) */
  useSignature(name: string): Result<Graph> {
    const text = String.UTF8.encode(name);
    const errno = imports.useSignature(this.handle, changetype<usize>(text), text.byteLength, cell);
    return Graph.made(errno, "use_signature");
  }

  /** The variables, as a safetensors file. (Extension.) */
  state(): Result<Uint8Array> {
    const ask: Asks = (handle, _, buffer, room) => imports.stateGet(handle, buffer, room, cell);
    return answer("state_get", ask, this.handle, 0, 0);
  }

  /** Set the variables. (Extension.) */
  setState(state: Uint8Array): NNError | null {
    return failure(imports.stateSet(this.handle, state.dataStart, state.byteLength), "state_set");
  }

  /**
   * Give the graph back. Its contexts can't be used any more. (WasmEdge's; the specification's core ABI has no such
   * function: a graph stays until the guest ends.)
   */
  close(): NNError | null {
    if (!this.isOpen) return null;
    this.isOpen = false;
    const left = holders.get(this.handle) - 1;
    holders.set(this.handle, left);
    return left > 0 ? null : failure(imports.unload(this.handle), "unload");
  }
}

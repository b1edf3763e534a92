// Gives graphs and contexts back where the build has WasmEdge's functions for it.

import { Context, Graph, check } from "../assembly";

export function closeGraph(graph: Graph): void {
  // @ts-ignore: `asc --use WASI_NN_WASMEDGE=1` defines it
  if (isDefined(WASI_NN_WASMEDGE)) check(graph.close());
}

export function closeContext(context: Context): void {
  // @ts-ignore: see above
  if (isDefined(WASI_NN_WASMEDGE)) check(context.close());
}

// Package wasinn is wasi-nn for guests in Go: load a graph, give it arrays, get arrays.
//
//	graph, err := wasinn.LoadByName("relu") // as the host's operator named it
//	if err != nil {
//		return err
//	}
//	defer graph.Close()
//	context, err := graph.NewContext()
//	if err != nil {
//		return err
//	}
//	defer context.Close()
//	x, err := wasinn.NewTensor([]float32{-1, 2, -3, 4}, 4)
//	if err != nil {
//		return err
//	}
//	if err := context.SetInputAt(0, "x", x); err != nil {
//		return err
//	}
//	if err := context.Compute(); err != nil {
//		return err
//	}
//	y, err := wasinn.Output[float32](context, 0)
//
// A guest is built with GOOS=wasip1 and GOARCH=wasm. It is a core module for any host of wasi-nn. With the build tag
// wasmedge, it has WasmEdge's functions and numbers: they give graphs and contexts back, stream texts, and configure
// graphs.
//
// Every error of this package is an [*Error], which wraps its [Code]: errors.Is(err, wasinn.ErrNotFound) asks for the
// reason, errors.As gets the whole error.
//
// Functions that say "extension" need a host with the extensions wasi-nn:ext. The linker drops the functions that a
// guest doesn't call, so a guest without them runs on any host.
//
// Graphs and contexts are for one goroutine at a time, each of them.
package wasinn

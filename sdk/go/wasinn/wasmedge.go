//go:build wasmedge

package wasinn

import (
	"iter"
	"runtime"
	"sync"
)

// The build with WasmEdge's functions and numbers.

const isWasmEdge = true

//go:wasmimport wasi_ephemeral_nn load_by_name_with_config
func loadByNameWithConfig(name string, config string, graph *uint32) uint32

//go:wasmimport wasi_ephemeral_nn compute_single
func computeSingle(context uint32) uint32

//go:wasmimport wasi_ephemeral_nn get_output_single
func getOutputSingle(context uint32, index uint32, buffer *byte, room uint32, size *uint32) uint32

//go:wasmimport wasi_ephemeral_nn fini_single
func finiSingle(context uint32) uint32

//go:wasmimport wasi_ephemeral_nn unload
func unload(graph uint32) uint32

//go:wasmimport wasi_ephemeral_nn finalize_execution_context
func finalizeExecutionContext(context uint32) uint32

// held is a handle that is given back: a graph's, or that of a context with its graph's.
type held struct {
	graph      uint32
	context    uint32
	hasContext bool
}

// owned gives back what a graph or a context holds: by Close, or when the garbage collector finds it lost.
type owned struct {
	held    held
	cleanup runtime.Cleanup
}

// holders has how many graphs and contexts hold each graph's handle: all graphs of one name have the same one. The
// mutex is for the goroutine in which the garbage collector's cleanups run.
var (
	holders      = map[uint32]int{}
	holdersMutex sync.Mutex
)

func ownGraph(graph *Graph) {
	graph.owned = own(graph, held{graph: graph.handle})
}

func ownContext(context *Context) {
	context.owned = own(context, held{context.graph.handle, context.handle, true})
}

func own[T any](owner *T, it held) owned {
	holdersMutex.Lock()
	holders[it.graph]++
	holdersMutex.Unlock()
	return owned{it, runtime.AddCleanup(owner, func(it held) { it.giveBack() }, it)}
}

func (o owned) giveBack() error {
	o.cleanup.Stop()
	return o.held.giveBack()
}

func (h held) giveBack() error {
	var err error
	if h.hasContext {
		err = check(finalizeExecutionContext(h.context), "finalize_execution_context")
	}
	holdersMutex.Lock()
	defer holdersMutex.Unlock()
	holders[h.graph]--
	if holders[h.graph] > 0 {
		return err
	}
	delete(holders, h.graph)
	if unloaded := check(unload(h.graph), "unload"); err == nil {
		err = unloaded
	}
	return err
}

// LoadByNameWithConfig gives a named graph with a configuration in JSON. A graph that is loaded already keeps the one
// that it has. (WasmEdge's.)
func LoadByNameWithConfig(name string, config string) (*Graph, error) {
	graph := new(Graph)
	return graph.made(loadByNameWithConfig(name, config, &graph.handle), "load_by_name_with_config")
}

// ComputeSingle makes the next piece of a text, the first one after an input was set or a sequence ended. Fails with
// [ErrEndOfSequence] after the last one. (WasmEdge's, as all functions of single pieces.)
func (c *Context) ComputeSingle() error {
	if c.isClosed {
		return errClosedContext
	}
	errno := computeSingle(c.handle)
	runtime.KeepAlive(c)
	return check(errno, "compute_single")
}

// OutputSingle gives the last piece (index 0), or what is told of the sequence so far (index 1).
func (c *Context) OutputSingle(index int) ([]byte, error) {
	if c.isClosed {
		return nil, errClosedContext
	}
	piece, err := answer("get_output_single", 64, func(buffer *byte, room uint32, size *uint32) uint32 {
		return getOutputSingle(c.handle, indexNumber(index), buffer, room, size)
	})
	runtime.KeepAlive(c)
	return piece, err
}

// FiniSingle ends a sequence, and forgets it.
func (c *Context) FiniSingle() error {
	if c.isClosed {
		return errClosedContext
	}
	errno := finiSingle(c.handle)
	runtime.KeepAlive(c)
	return check(errno, "fini_single")
}

// Singles goes through the pieces of a text as they are made. An error is the last that it gives: [ErrContextFull] if the
// text ends where the model's context does, and none where the text ends by itself. Call FiniSingle after it.
//
//	for piece, err := range context.Singles() {
//		if err != nil {
//			return err
//		}
//		os.Stdout.Write(piece)
//	}
func (c *Context) Singles() iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for {
			err := c.ComputeSingle()
			if isCode(err, ErrEndOfSequence) {
				return
			}
			var piece []byte
			if err == nil {
				piece, err = c.OutputSingle(0)
			}
			if !yield(piece, err) || err != nil {
				return
			}
		}
	}
}

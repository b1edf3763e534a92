package wasinn

import "runtime"

// Graph is a loaded model.
type Graph struct {
	handle   uint32
	isClosed bool
	owned    owned
}

// Load makes a graph of a model's bytes: one builder for most encodings, the .xml and the .bin for OpenVINO.
func Load(builders [][]byte, encoding Encoding, target Target) (*Graph, error) {
	places := make([]uint32, 0, 2*len(builders)+1)
	for _, builder := range builders {
		places = append(places, address(builder), uint32(len(builder)))
	}
	graph := new(Graph)
	errno := load(firstNumber(places), uint32(len(builders)), encoding.number(), target.number(), &graph.handle)
	runtime.KeepAlive(builders)
	return graph.made(errno, "load")
}

// LoadByName gives a graph that the host's operator named. Fails with [ErrNotFound] if there is none of this name.
func LoadByName(name string) (*Graph, error) {
	graph := new(Graph)
	return graph.made(loadByName(name, &graph.handle), "load_by_name")
}

// made gives the graph, or the error of the function that should have written its handle.
func (g *Graph) made(errno uint32, what string) (*Graph, error) {
	if errno != 0 {
		return nil, failed(errno, what)
	}
	ownGraph(g)
	return g, nil
}

// NewContext makes an execution context. Contexts know nothing of each other, unless they share variables. A context
// keeps its graph, which may be closed first.
func (g *Graph) NewContext() (*Context, error) {
	if g.isClosed {
		return nil, errClosedGraph
	}
	context := &Context{graph: g}
	if errno := initExecutionContext(g.handle, &context.handle); errno != 0 {
		return nil, failed(errno, "init_execution_context")
	}
	ownContext(context)
	return context, nil
}

// Close gives the graph back where the ABI has a function for that: with the build tag wasmedge. Without it, the graph
// stays in the host until the guest ends. A graph that is closed can't be used, and closing it again does nothing.
//
// With the tag, a graph that the guest has lost is given back too, some time after the garbage collector finds it.
func (g *Graph) Close() error {
	if g.isClosed {
		return nil
	}
	g.isClosed = true
	return g.owned.giveBack()
}

// Describe tells what the graph is, and what inputs and outputs it has. (Extension.)
func (g *Graph) Describe() (*Description, error) {
	if g.isClosed {
		return nil, errClosedGraph
	}
	return g.describe()
}

// describe is Describe, also for a context whose graph is closed.
func (g *Graph) describe() (*Description, error) {
	record, err := answer("describe", describedRoom, func(buffer *byte, room uint32, size *uint32) uint32 {
		return describe(g.handle, buffer, room, size)
	})
	runtime.KeepAlive(g)
	if err != nil {
		return nil, err
	}
	return recordIn(record).graph(), nil
}

// UseSignature gives the graph of another signature of the model, with the same weights and variables. Fails with
// [ErrNotFound] if the model has no such signature. (Extension.)
func (g *Graph) UseSignature(name string) (*Graph, error) {
	if g.isClosed {
		return nil, errClosedGraph
	}
	other := new(Graph)
	errno := useSignature(g.handle, name, &other.handle)
	runtime.KeepAlive(g)
	return other.made(errno, "use_signature")
}

// State gives the variables, as the bytes of a safetensors file. Contexts that are made from now on share them. Fails
// with [ErrUnsupportedOperation] for a graph without any. (Extension.)
func (g *Graph) State() ([]byte, error) {
	if g.isClosed {
		return nil, errClosedGraph
	}
	state, err := answer("state_get", 0, func(buffer *byte, room uint32, size *uint32) uint32 {
		return stateGet(g.handle, buffer, room, size)
	})
	runtime.KeepAlive(g)
	return state, err
}

// SetState sets variables to the values in a safetensors file. Fails with [ErrInvalidArgument], and changes nothing, for
// a name, a type or dimensions that the graph doesn't have. (Extension.)
func (g *Graph) SetState(state []byte) error {
	if g.isClosed {
		return errClosedGraph
	}
	errno := stateSet(g.handle, first(state), uint32(len(state)))
	runtime.KeepAlive(g)
	return check(errno, "state_set")
}

var (
	errClosedGraph   = invalid("the graph is closed")
	errClosedContext = invalid("the context is closed")
)

// answer gives an answer of unknown size: ask writes it into a buffer, whose first size is room, and its size to the last
// pointer.
func answer(what string, room uint32, ask func(buffer *byte, room uint32, size *uint32) uint32) ([]byte, error) {
	for {
		buffer, size := make([]byte, room), uint32(0)
		errno := ask(first(buffer), room, &size)
		if errno == 0 {
			return buffer[:size], nil
		}
		if size <= room {
			return nil, failed(errno, what)
		}
		room = size
	}
}

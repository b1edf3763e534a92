package wasinn

import (
	"maps"
	"math"
	"runtime"
	"slices"
	"strconv"
)

// Context is an execution context: inputs that are set, and outputs of the last compute. Inputs stay set from one compute
// to the next.
type Context struct {
	graph       *Graph
	handle      uint32
	record      tensorRecord // an input, while it is set
	size        uint32       // of an output, written by the host
	sizes       []int        // of the outputs that were read last, in bytes
	description *Description // of the graph, once it was asked for
	isClosed    bool
	owned       owned
}

// Close gives the context back where the ABI has a function for that, as [Graph.Close] does.
func (c *Context) Close() error {
	if c.isClosed {
		return nil
	}
	c.isClosed = true
	return c.owned.giveBack()
}

// SetInput sets an input, counted from 0 in the model's order.
func (c *Context) SetInput(index int, tensor Tensor) error {
	number, ok := tensor.elementType.number()
	if !ok {
		message := "the core ABI has no tensors of " + tensor.elementType.String()
		return &Error{Code: ErrUnsupportedOperation, Message: message}
	}
	if c.isClosed {
		return errClosedContext
	}
	c.record = tensorRecord{
		dims:        addressOfNumbers(tensor.dims),
		rank:        uint32(len(tensor.dims)),
		elementType: number,
		content:     address(tensor.content),
		size:        uint32(len(tensor.content)),
	}
	errno := setInput(c.handle, indexNumber(index), &c.record)
	runtime.KeepAlive(tensor)
	return check(errno, "set_input")
}

// SetInputNamed sets an input by its name, for which it asks for the graph's description. (Extension.)
func (c *Context) SetInputNamed(name string, tensor Tensor) error {
	description, err := c.described()
	if err != nil {
		return err
	}
	names := ""
	for index, input := range description.Inputs {
		if input.Name == name {
			return c.SetInput(index, tensor)
		}
		names += " " + strconv.Quote(input.Name)
	}
	return invalid("no input is named " + strconv.Quote(name) + ": there are" + names)
}

func (c *Context) described() (*Description, error) {
	if c.description == nil {
		description, err := c.graph.describe()
		if err != nil {
			return nil, err
		}
		c.description = description
	}
	return c.description, nil
}

// SetInputAt sets the input that has this index and this name. In a core module, the index tells the input; SDKs for
// components go by the name.
func (c *Context) SetInputAt(index int, name string, tensor Tensor) error {
	return c.SetInput(index, tensor)
}

// Compute runs the graph on the inputs that are set.
func (c *Context) Compute() error {
	if c.isClosed {
		return errClosedContext
	}
	errno := compute(c.handle)
	runtime.KeepAlive(c)
	return check(errno, "compute")
}

// Where a host doesn't tell the size of an output: the first buffer, and the most bytes that are tried then.
const (
	firstRoom = 4096
	mostRoom  = 1 << 30
)

// Output gives an output of the last compute, counted from 0, in a slice of its own. A core module isn't told the
// output's type: its bytes are taken for elements of the type that is asked for.
func Output[E Element](context *Context, index int) ([]E, error) {
	size := sizeOf[E]()
	elements := make([]E, context.lastSize(index)/size)
	for {
		room := len(elements) * size
		got, err := context.read(index, bytesOf(elements))
		switch {
		case err == nil:
			count, err := whole[E](got)
			if err != nil {
				return nil, err
			}
			context.keepSize(index, got)
			return elements[:count], nil
		case err.Needed > 0:
			count, err := whole[E](err.Needed)
			if err != nil {
				return nil, err
			}
			elements = make([]E, count)
		case err.Code == ErrTooLarge && room < mostRoom: // not every host tells the size
			elements = make([]E, min(max(4*room, firstRoom), mostRoom)/size)
		default:
			return nil, err
		}
	}
}

// OutputInto copies an output into a buffer, and gives the number of elements. Fails with [ErrTooLarge] if the buffer is
// too small: the error's Needed has the bytes that it needs.
func OutputInto[E Element](context *Context, index int, buffer []E) (int, error) {
	size, err := context.read(index, bytesOf(buffer))
	if err != nil {
		return 0, err
	}
	return whole[E](size)
}

// read copies an output into a buffer, and gives its size.
func (c *Context) read(index int, buffer []byte) (int, *Error) {
	if c.isClosed {
		return 0, errClosedContext
	}
	c.size = 0
	errno := getOutput(c.handle, indexNumber(index), first(buffer), uint32(len(buffer)), &c.size)
	size := int(c.size)
	if errno == 0 {
		return size, nil
	}
	if size <= len(buffer) {
		return 0, failed(errno, "get_output")
	}
	message := "the output has " + strconv.Itoa(size) + " bytes, the buffer only " + strconv.Itoa(len(buffer))
	return 0, &Error{ErrTooLarge, message, size}
}

func (c *Context) lastSize(index int) int {
	if index < 0 || index >= len(c.sizes) {
		return 0
	}
	return c.sizes[index]
}

// keepSize keeps the size of an output that exists.
func (c *Context) keepSize(index int, size int) {
	if missing := index + 1 - len(c.sizes); missing > 0 {
		c.sizes = append(c.sizes, make([]int, missing)...)
	}
	c.sizes[index] = size
}

// indexNumber gives an index as the host takes it. One that it can't take is greater than any that exists.
func indexNumber(index int) uint32 {
	if index < 0 || index > math.MaxUint32 {
		return math.MaxUint32
	}
	return uint32(index)
}

// NamedTensor is an output with its name.
type NamedTensor struct {
	Name   string
	Tensor Tensor
}

// OutputTensor gives an output with its name, type and dims. (Extension.)
func (c *Context) OutputTensor(index int) (NamedTensor, error) {
	description, err := c.describeOutput(index)
	if err != nil {
		return NamedTensor{}, err
	}
	return c.describedOutput(index, description)
}

func (c *Context) describeOutput(index int) (*TensorDescription, error) {
	if c.isClosed {
		return nil, errClosedContext
	}
	ask := func(buffer *byte, room uint32, size *uint32) uint32 {
		return describeOutput(c.handle, indexNumber(index), buffer, room, size)
	}
	record, err := answer("describe_output", describedRoom, ask)
	runtime.KeepAlive(c)
	if err != nil {
		return nil, err
	}
	description := recordIn(record).tensor(0)
	return &description, nil
}

func (c *Context) describedOutput(index int, description *TensorDescription) (NamedTensor, error) {
	if description.Kind != ElementNumber {
		message := "the output " + description.Name + " isn't of numbers that wasi-nn has"
		return NamedTensor{}, &Error{Code: ErrUnsupportedOperation, Message: message}
	}
	content, err := Output[uint8](c, index)
	if err != nil {
		return NamedTensor{}, err
	}
	dims := make([]uint32, len(description.Dims))
	for at, dim := range description.Dims {
		dims[at] = uint32(dim.Size)
	}
	return NamedTensor{description.Name, Tensor{description.Type, dims, content}}, nil
}

// ComputeNamed gives all outputs, in the model's order, for these inputs. Inputs that were set before stay set.
// (Extension.)
func (c *Context) ComputeNamed(inputs map[string]Tensor) ([]NamedTensor, error) {
	for _, name := range slices.Sorted(maps.Keys(inputs)) {
		if err := c.SetInputNamed(name, inputs[name]); err != nil {
			return nil, err
		}
	}
	if err := c.Compute(); err != nil {
		return nil, err
	}
	graph, err := c.described()
	if err != nil {
		return nil, err
	}
	var outputs []NamedTensor
	for graph.Outputs == nil || len(outputs) < len(graph.Outputs) {
		index := len(outputs)
		description, err := c.describeOutput(index)
		if graph.Outputs == nil && isCode(err, ErrInvalidArgument) {
			break // there are no more
		}
		if err != nil {
			return nil, err
		}
		output, err := c.describedOutput(index, description)
		if err != nil {
			return nil, err
		}
		outputs = append(outputs, output)
	}
	return outputs, nil
}

package wasinn

import (
	"encoding/binary"
	"strconv"
)

// Description is a graph, as its host describes it.
type Description struct {
	// Encoding is Autodetect for one that wasi-nn has no word for.
	Encoding Encoding
	// Runtime is the ML runtime that runs the graph, such as "onnxruntime".
	Runtime string
	// Device is the device that the graph runs on, such as "cpu".
	Device string
	// Signature is the one that the graph runs. Empty if the model has none with a name.
	Signature string
	// Signatures has the names of all signatures of the model.
	Signatures []string
	// Inputs are in the order of their indexes.
	Inputs []TensorDescription
	// Outputs are in the order of their indexes. Nil if the model doesn't declare them.
	Outputs []TensorDescription
	// Metadata is what the model says about itself. Empty if the host's operator doesn't allow it.
	Metadata map[string]string
}

// TensorDescription is an input or output, as its host describes it.
type TensorDescription struct {
	Name string
	// Kind says what elements it has.
	Kind ElementKind
	// Type is the type of the elements, if they are of [ElementNumber].
	Type Type
	// Native is the runtime's own name of the type, if the elements are of [ElementNative].
	Native string
	// Dims are nil if even their number is open.
	Dims []Dimension
	// Optional says whether the input may be left out.
	Optional bool
}

// Dimension is the size of a described dimension.
type Dimension struct {
	Kind DimensionKind
	// Size is that of a [DimensionFixed].
	Size int
	// Name is that of a [DimensionNamed]: all dimensions of one name have the same size in a compute.
	Name string
}

// String gives the size, the name, or "?".
func (d Dimension) String() string {
	switch d.Kind {
	case DimensionFixed:
		return strconv.Itoa(d.Size)
	case DimensionNamed:
		return d.Name
	default:
		return "?"
	}
}

const (
	describedRoom = 1024 // the first buffer for a description
	tensorSize    = 36   // the bytes of a tensor's record in a graph's
)

// record is what a host wrote into a buffer: numbers, and addresses of what else is in the buffer.
type record struct {
	content []byte
	base    uint32
}

func recordIn(buffer []byte) record {
	return record{buffer, address(buffer)}
}

func (r record) number(at int) int {
	return int(binary.LittleEndian.Uint32(r.content[at:]))
}

// place gives where in the buffer the bytes or items are that an address and a number at this place tell, and the number.
func (r record) place(at int) (int, int) {
	count := r.number(at + 4)
	if count == 0 {
		return 0, 0 // the address of nothing is any
	}
	return r.number(at) - int(r.base), count
}

func (r record) text(at int) string {
	from, size := r.place(at)
	return string(r.content[from : from+size])
}

func listIn[T any](r record, at int, size int, item func(at int) T) []T {
	from, count := r.place(at)
	items := make([]T, count)
	for number := range items {
		items[number] = item(from + number*size)
	}
	return items
}

func (r record) tensors(at int) []TensorDescription {
	return listIn(r, at, tensorSize, r.tensor)
}

func (r record) graph() *Description {
	description := &Description{
		Encoding:   encodingOf(r.content[0]),
		Runtime:    r.text(4),
		Device:     r.text(12),
		Signature:  r.text(20),
		Signatures: listIn(r, 28, 8, r.text),
		Inputs:     r.tensors(36),
		Metadata:   map[string]string{},
	}
	if r.content[44] != 0 {
		description.Outputs = r.tensors(48)
	}
	for _, entry := range listIn(r, 56, 16, func(at int) [2]string { return [2]string{r.text(at), r.text(at + 8)} }) {
		description.Metadata[entry[0]] = entry[1]
	}
	return description
}

func (r record) tensor(at int) TensorDescription {
	description := TensorDescription{Name: r.text(at), Kind: ElementKind(r.content[at+8]), Optional: r.content[at+32] != 0}
	switch description.Kind {
	case ElementNumber:
		elementType, known := typeOf(r.content[at+12])
		description.Type = elementType
		if !known {
			description.Kind = ElementAny
		}
	case ElementNative:
		description.Native = r.text(at + 12)
	}
	if r.content[at+20] != 0 {
		description.Dims = listIn(r, at+24, 12, r.dimension)
	}
	return description
}

func (r record) dimension(at int) Dimension {
	dimension := Dimension{Kind: DimensionKind(r.content[at])}
	switch dimension.Kind {
	case DimensionFixed:
		dimension.Size = r.number(at + 4)
	case DimensionNamed:
		dimension.Name = r.text(at + 4)
	}
	return dimension
}

package wasinn

import (
	"math"
	"strconv"
	"structs"
)

// F16 is the bits of a number of 16 bits, IEEE 754's binary16.
type F16 uint16

// BF16 is the bits of a bfloat16, the upper half of a float32.
type BF16 uint16

// BF16Of gives the bfloat16 that is nearest to a number, half to even. A NaN stays one.
func BF16Of(number float32) BF16 {
	bits := math.Float32bits(number)
	if number != number {
		return BF16(bits>>16 | 0x40)
	}
	return BF16((bits + 0x7fff + bits>>16&1) >> 16)
}

// Float32 gives the number.
func (n BF16) Float32() float32 {
	return math.Float32frombits(uint32(n) << 16)
}

// Element is a type of Go that tensors have elements of.
type Element interface {
	F16 | BF16 | float32 | float64 | uint8 | int32 | int64
}

// TypeOf gives the tensor type of elements of Go.
func TypeOf[E Element]() Type {
	var element E
	switch any(element).(type) {
	case F16:
		return TypeF16
	case BF16:
		return TypeBF16
	case float32:
		return TypeF32
	case float64:
		return TypeF64
	case uint8:
		return TypeU8
	case int32:
		return TypeI32
	default:
		return TypeI64
	}
}

// Tensor is a type, dims, and elements in row-major order.
type Tensor struct {
	elementType Type
	dims        []uint32
	content     []byte
}

// NewTensor makes a tensor of a slice's elements, which aren't copied. Without dims, it is a scalar. Fails with
// [ErrInvalidArgument] unless the dims multiply out to the number of elements.
func NewTensor[E Element](elements []E, dims ...int) (Tensor, error) {
	return TensorOfBytes(TypeOf[E](), bytesOf(elements), dims...)
}

// TensorOfBytes makes a tensor of any type, of its elements as bytes, little-endian. Fails as [NewTensor] does.
func TensorOfBytes(elementType Type, content []byte, dims ...int) (Tensor, error) {
	sizes, count := make([]uint32, len(dims)), uint64(elementType.Size())
	for at, dim := range dims {
		if dim < 0 || dim > math.MaxUint32 {
			return Tensor{}, invalid("a dim of " + strconv.Itoa(dim))
		}
		sizes[at] = uint32(dim)
		count = min(count*uint64(dim), math.MaxUint32+1) // a product of 0 stays 0
	}
	if count != uint64(len(content)) {
		what := strconv.Itoa(len(content)/max(1, elementType.Size())) + " elements of " + elementType.String()
		return Tensor{}, invalid(what + " don't fit the dims " + list(dims))
	}
	return Tensor{elementType, sizes, content}, nil
}

func list(dims []int) string {
	text := "["
	for at, dim := range dims {
		if at > 0 {
			text += " "
		}
		text += strconv.Itoa(dim)
	}
	return text + "]"
}

// Type gives the type of the elements.
func (t Tensor) Type() Type {
	return t.elementType
}

// Dims gives the dims.
func (t Tensor) Dims() []int {
	dims := make([]int, len(t.dims))
	for at, dim := range t.dims {
		dims[at] = int(dim)
	}
	return dims
}

// Bytes gives the elements as bytes, little-endian, in their place.
func (t Tensor) Bytes() []byte {
	return t.content
}

// Elements copies the elements of a tensor. Fails with [ErrInvalidArgument] if they are of another type.
func Elements[E Element](tensor Tensor) ([]E, error) {
	if tensor.elementType != TypeOf[E]() {
		return nil, invalid("the tensor is of " + tensor.elementType.String() + ", not of " + TypeOf[E]().String())
	}
	return elementsOf[E](tensor.content)
}

// elementsOf copies elements from their bytes. Fails with [ErrInvalidArgument] if they aren't whole elements.
func elementsOf[E Element](content []byte) ([]E, error) {
	count, err := whole[E](len(content))
	if err != nil {
		return nil, err
	}
	elements := make([]E, count)
	copy(bytesOf(elements), content)
	return elements, nil
}

// whole gives the number of elements in so many bytes. Fails as elementsOf does.
func whole[E Element](size int) (int, error) {
	if size%sizeOf[E]() != 0 {
		return 0, invalid(strconv.Itoa(size) + " bytes aren't whole elements of " + TypeOf[E]().String())
	}
	return size / sizeOf[E](), nil
}

// tensorRecord is a tensor as the host reads it: addresses, and numbers of dims and of bytes.
type tensorRecord struct {
	_           structs.HostLayout
	dims        uint32
	rank        uint32
	elementType uint8
	content     uint32
	size        uint32
}

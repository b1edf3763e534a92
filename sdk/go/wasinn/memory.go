package wasinn

import "unsafe"

// The host's functions take addresses. This file makes them: no other one of the package imports unsafe.

var (
	never bool
	sink  unsafe.Pointer
)

// address gives the place of bytes for a record that the host reads. The compiler must think that they may be kept: they
// are then on the heap, where Go moves nothing, and not on a stack. The caller keeps them reachable until the host's
// function returns.
func address(content []byte) uint32 {
	return addressOf(unsafe.Pointer(unsafe.SliceData(content)))
}

// addressOfNumbers gives the place of numbers, as address does.
func addressOfNumbers(numbers []uint32) uint32 {
	return addressOf(unsafe.Pointer(unsafe.SliceData(numbers)))
}

func addressOf(place unsafe.Pointer) uint32 {
	if never {
		sink = place
	}
	return uint32(uintptr(place)) // a memory of wasm32 has no place above
}

// first gives the first byte, for a function that gets the number of bytes too; there may be none.
func first(content []byte) *byte {
	return unsafe.SliceData(content)
}

// firstNumber gives the first number, as first does.
func firstNumber(numbers []uint32) *uint32 {
	return unsafe.SliceData(numbers)
}

// bytesOf gives the bytes of elements, in their place. They have no padding, and any bytes are an element.
func bytesOf[E Element](elements []E) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(elements))), len(elements)*sizeOf[E]())
}

// sizeOf gives the bytes of an element.
func sizeOf[E Element]() int {
	var element E
	return int(unsafe.Sizeof(element))
}

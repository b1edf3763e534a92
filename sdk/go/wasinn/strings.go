package wasinn

import (
	"encoding/binary"
	"math"
	"runtime"
	"strconv"
)

// SetStrings sets an input of byte strings, which have any bytes, in row-major order. (Extension.)
func (c *Context) SetStrings(index int, strings []string, dims ...int) error {
	if c.isClosed {
		return errClosedContext
	}
	sizes := make([]uint32, len(dims))
	for at, dim := range dims {
		if dim < 0 || dim > math.MaxUint32 {
			return invalid("a dim of " + strconv.Itoa(dim))
		}
		sizes[at] = uint32(dim)
	}
	var content []byte
	end := 0
	for _, text := range strings {
		end += len(text)
		content = binary.LittleEndian.AppendUint32(content, uint32(end))
	}
	for _, text := range strings {
		content = append(content, text...)
	}
	size := uint32(len(content))
	errno := setByteStrings(c.handle, indexNumber(index), firstNumber(sizes), uint32(len(sizes)), first(content), size)
	runtime.KeepAlive(c)
	return check(errno, "set_byte_strings")
}

// SetStringsAt sets the input of byte strings that has this index and this name, as [Context.SetInputAt] does.
// (Extension.)
func (c *Context) SetStringsAt(index int, name string, strings []string, dims ...int) error {
	return c.SetStrings(index, strings, dims...)
}

// Strings gives an output of byte strings, in row-major order. (Extension.)
func (c *Context) Strings(index int) ([]string, error) {
	if c.isClosed {
		return nil, errClosedContext
	}
	ask := func(buffer *byte, room uint32, size *uint32) uint32 {
		return getByteStrings(c.handle, indexNumber(index), buffer, room, size)
	}
	content, err := answer("get_byte_strings", 0, ask)
	runtime.KeepAlive(c)
	if err != nil {
		return nil, err
	}
	// The ends of n strings are the first 4 n bytes; the last end is the size of what comes after them.
	endOf := func(number int) int { return int(binary.LittleEndian.Uint32(content[4*number:])) }
	count := 0
	for 4*count < len(content) && (count == 0 || 4*count+endOf(count-1) != len(content)) {
		count++
	}
	strings, from := make([]string, count), 4*count
	for number := range strings {
		to := 4*count + endOf(number)
		strings[number] = string(content[from:to])
		from = to
	}
	return strings, nil
}

package wasinn

import (
	"iter"
	"runtime"
)

// BeginSequence begins a sequence on the inputs that are set: outputs that come piece by piece. (Extension, as all
// functions of sequences.)
func (c *Context) BeginSequence() error {
	if c.isClosed {
		return errClosedContext
	}
	errno := beginSequence(c.handle)
	runtime.KeepAlive(c)
	return check(errno, "begin_sequence")
}

// NextOfSequence makes the next piece of the sequence, whose outputs are the context's then. False after the last piece.
func (c *Context) NextOfSequence() (bool, error) {
	if c.isClosed {
		return false, errClosedContext
	}
	c.size = 0
	if errno := nextOfSequence(c.handle, &c.size); errno != 0 {
		return false, failed(errno, "next_of_sequence")
	}
	return c.size != 0, nil
}

// EndSequence ends a sequence early, and drops its outputs.
func (c *Context) EndSequence() error {
	if c.isClosed {
		return errClosedContext
	}
	errno := endSequence(c.handle)
	runtime.KeepAlive(c)
	return check(errno, "end_sequence")
}

// Sequence goes through a sequence from its begin: it gives the number of each piece, from 0 on, whose outputs are the
// context's in the loop's body. An error is the last that it gives. A loop that is left early ends the sequence.
//
//	for _, err := range context.Sequence() {
//		if err != nil {
//			return err
//		}
//		letter, err := wasinn.Output[uint8](context, 0)
func (c *Context) Sequence() iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		if err := c.BeginSequence(); err != nil {
			yield(0, err)
			return
		}
		for number := 0; ; number++ {
			given, err := c.NextOfSequence()
			if err != nil {
				yield(number, err)
				return
			}
			if !given {
				return
			}
			if !yield(number, nil) {
				c.EndSequence() // it can only fail if the body has ended the sequence
				return
			}
		}
	}
}

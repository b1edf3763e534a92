package wasinn

import "strconv"

// Code is the reason of a failure. It is an error itself, which errors.Is finds in every [*Error]:
//
//	if errors.Is(err, wasinn.ErrNotFound) {
type Code uint8

// Error gives the reason as a word, such as "not-found".
func (c Code) Error() string {
	return c.name()
}

// Error is a call that failed.
type Error struct {
	// Code is the reason.
	Code Code
	// Message has the function that failed, and the meaning of the code. The host's log has the reason in words.
	Message string
	// Needed has the bytes that an output needs, if the buffer was too small and the host tells it; else 0.
	Needed int
}

// Error gives the reason as a word, and the message.
func (e *Error) Error() string {
	return e.Code.name() + ": " + e.Message
}

// Unwrap gives the reason.
func (e *Error) Unwrap() error {
	return e.Code
}

// check gives the error of an errno: nil for 0.
func check(errno uint32, what string) error {
	if errno == 0 {
		return nil
	}
	return failed(errno, what)
}

// failed is the error of an errno other than 0.
func failed(errno uint32, what string) *Error {
	code, known := codeOf(errno)
	if !known {
		return &Error{Code: ErrUnknown, Message: what + ": errno " + strconv.FormatUint(uint64(errno), 10)}
	}
	return &Error{Code: code, Message: what + ": " + code.Text()}
}

func invalid(message string) *Error {
	return &Error{Code: ErrInvalidArgument, Message: message}
}

// isCode says whether an error of this package has this reason.
func isCode(err error, code Code) bool {
	known, ok := err.(*Error)
	return ok && known.Code == code
}

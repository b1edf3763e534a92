//go:build wasip1

package wasinn

// The functions that the host has for this package. A guest imports those that it calls.

//go:wasmimport wasi_ephemeral_nn load
func load(builders *uint32, count uint32, encoding uint32, target uint32, graph *uint32) uint32

//go:wasmimport wasi_ephemeral_nn load_by_name
func loadByName(name string, graph *uint32) uint32

//go:wasmimport wasi_ephemeral_nn init_execution_context
func initExecutionContext(graph uint32, context *uint32) uint32

//go:wasmimport wasi_ephemeral_nn set_input
func setInput(context uint32, index uint32, tensor *tensorRecord) uint32

//go:wasmimport wasi_ephemeral_nn compute
func compute(context uint32) uint32

//go:wasmimport wasi_ephemeral_nn get_output
func getOutput(context uint32, index uint32, buffer *byte, room uint32, size *uint32) uint32

// The extensions

//go:wasmimport wasi_nn_ext describe
func describe(graph uint32, buffer *byte, room uint32, size *uint32) uint32

//go:wasmimport wasi_nn_ext describe_output
func describeOutput(context uint32, index uint32, buffer *byte, room uint32, size *uint32) uint32

//go:wasmimport wasi_nn_ext use_signature
func useSignature(graph uint32, name string, other *uint32) uint32

//go:wasmimport wasi_nn_ext state_get
func stateGet(graph uint32, buffer *byte, room uint32, size *uint32) uint32

//go:wasmimport wasi_nn_ext state_set
func stateSet(graph uint32, state *byte, size uint32) uint32

//go:wasmimport wasi_nn_ext begin_sequence
func beginSequence(context uint32) uint32

//go:wasmimport wasi_nn_ext next_of_sequence
func nextOfSequence(context uint32, hasPiece *uint32) uint32

//go:wasmimport wasi_nn_ext end_sequence
func endSequence(context uint32) uint32

//go:wasmimport wasi_nn_ext set_byte_strings
func setByteStrings(context uint32, index uint32, dims *uint32, rank uint32, content *byte, size uint32) uint32

//go:wasmimport wasi_nn_ext get_byte_strings
func getByteStrings(context uint32, index uint32, buffer *byte, room uint32, size *uint32) uint32

// The extensions: descriptions, signatures, variables, byte strings and sequences. In a build for WasmEdge's functions,
// its streaming too.
//
// The host has the graphs "types" (as for tour), "learner", which learns a factor, "echo", which gives strings back, and
// "speller", which spells a word letter by letter and fails at "?".
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"wasinn"
)

func main() {
	for _, part := range []func() error{named, learner, byteStrings, sequences, streaming} {
		if err := part(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// opened is a graph with an execution context.
type opened struct {
	*wasinn.Context
	graph *wasinn.Graph
}

func open(graph *wasinn.Graph, err error) (opened, error) {
	if err != nil {
		return opened{}, err
	}
	context, err := graph.NewContext()
	if err != nil {
		return opened{}, errors.Join(err, graph.Close())
	}
	return opened{context, graph}, nil
}

func (o opened) Close() error {
	return errors.Join(o.Context.Close(), o.graph.Close())
}

func named() error {
	context, err := open(wasinn.LoadByName("types"))
	if err != nil {
		return err
	}
	defer context.Close()
	inputs := map[string]wasinn.Tensor{}
	err = errors.Join(
		put(inputs, "i64", []int64{7, -8}),
		put(inputs, "f16", []wasinn.F16{0, 0}),
		put(inputs, "u8", []uint8{5, 6}),
		put(inputs, "f32", []float32{1, 2}),
		put(inputs, "f64", []float64{3, 4}),
		put(inputs, "i32", []int32{3, 4}),
	)
	if err != nil {
		return err
	}
	outputs, err := context.ComputeNamed(inputs)
	if err != nil {
		return err
	}
	for _, output := range outputs {
		tensor := output.Tensor
		fmt.Printf("%s: %v %s, %d bytes\n", output.Name, tensor.Type(), list(tensor.Dims()), len(tensor.Bytes()))
	}
	_, err = context.ComputeNamed(map[string]wasinn.Tensor{"none": inputs["u8"]})
	fmt.Println("unknown input:", code(err))
	for name, tensor := range inputs {
		if err := context.SetInputNamed(name, tensor); err != nil {
			return err
		}
	}
	if err := context.Compute(); err != nil {
		return err
	}
	last, err := context.OutputTensor(5)
	if err != nil {
		return err
	}
	numbers, err := wasinn.Elements[int64](last.Tensor)
	if err != nil {
		return err
	}
	fmt.Println("by name:", last.Name, list(numbers))
	_, err = wasinn.Elements[float64](last.Tensor)
	fmt.Println("of another type:", code(err))
	return nil
}

func put[E wasinn.Element](inputs map[string]wasinn.Tensor, name string, elements []E) error {
	tensor, err := wasinn.NewTensor(elements, len(elements))
	inputs[name] = tensor
	return err
}

func learner() error {
	graph, err := wasinn.LoadByName("learner")
	if err != nil {
		return err
	}
	defer graph.Close()
	description, err := graph.Describe()
	if err != nil {
		return err
	}
	show(description)
	_, err = graph.UseSignature("none")
	fmt.Println("unknown signature:", code(err))
	training, err := open(graph.UseSignature("train"))
	if err != nil {
		return err
	}
	defer training.Close()
	if err := learn("train", training.Context, 1, 2); err != nil {
		return err
	}
	state, err := graph.State()
	if err != nil {
		return err
	}
	fmt.Println("state:", len(state), "bytes")
	if err := learn("train", training.Context, 1, 2); err != nil {
		return err
	}
	if err := infer("infer", graph); err != nil {
		return err
	}
	if err := graph.SetState(state); err != nil {
		return err
	}
	if err := infer("restored", graph); err != nil {
		return err
	}
	fmt.Println("bad state:", code(graph.SetState([]byte("no state"))))
	echo, err := wasinn.LoadByName("echo")
	if err != nil {
		return err
	}
	defer echo.Close()
	_, err = echo.State()
	fmt.Println("no state:", code(err))
	return nil
}

func infer(what string, graph *wasinn.Graph) error {
	context, err := graph.NewContext()
	if err != nil {
		return err
	}
	defer context.Close()
	return learn(what, context, 1, 1)
}

func learn(what string, context *wasinn.Context, x ...float32) error {
	tensor, err := wasinn.NewTensor(x, len(x))
	if err != nil {
		return err
	}
	if err := context.SetInputAt(0, "x", tensor); err != nil {
		return err
	}
	if err := context.Compute(); err != nil {
		return err
	}
	y, err := wasinn.Output[float32](context, 0)
	if err != nil {
		return err
	}
	fmt.Printf("%s: %s\n", what, list(y))
	return nil
}

func show(description *wasinn.Description) {
	fmt.Printf("%v on %s (%s)\n", description.Encoding, description.Runtime, description.Device)
	fmt.Println("signature", description.Signature, "of", strings.Join(description.Signatures, ", "))
	for _, input := range description.Inputs {
		showTensor("input", input)
	}
	for _, output := range description.Outputs {
		showTensor("output", output)
	}
	for key, text := range description.Metadata {
		fmt.Printf("%s: %s\n", key, text)
	}
}

func showTensor(what string, tensor wasinn.TensorDescription) {
	elements := "any numbers"
	switch tensor.Kind {
	case wasinn.ElementNumber:
		elements = tensor.Type.String()
	case wasinn.ElementByteString:
		elements = "byte strings"
	case wasinn.ElementNative:
		elements = tensor.Native
	}
	dims := "[...]"
	if tensor.Dims != nil {
		dims = list(tensor.Dims)
	}
	fmt.Printf("%s %s: %s %s\n", what, tensor.Name, elements, dims)
}

func byteStrings() error {
	context, err := open(wasinn.LoadByName("echo"))
	if err != nil {
		return err
	}
	defer context.Close()
	description, err := context.graph.Describe()
	if err != nil {
		return err
	}
	showTensor("input", description.Inputs[0])
	if err := context.SetStringsAt(0, "x", []string{"ab", "", "\u00e9"}, 3); err != nil {
		return err
	}
	if err := context.Compute(); err != nil {
		return err
	}
	texts, err := context.Strings(0)
	if err != nil {
		return err
	}
	fmt.Print("strings:")
	for _, text := range texts {
		fmt.Printf(" '%s'", text)
	}
	fmt.Println()
	fmt.Println("wrong number:", code(context.SetStringsAt(0, "x", []string{"a", "b", "c"}, 2)))
	return nil
}

func sequences() error {
	context, err := open(wasinn.LoadByName("speller"))
	if err != nil {
		return err
	}
	defer context.Close()
	if err := spell("sequence", context.Context, "abc"); err != nil {
		return err
	}
	if err := spell("failing", context.Context, "d?"); err != nil {
		return err
	}
	if err := prompt(context.Context, "xyz"); err != nil {
		return err
	}
	for _, err := range context.Sequence() {
		if err != nil {
			return err
		}
		break // ends the sequence
	}
	_, err = wasinn.Output[uint8](context.Context, 0)
	fmt.Println("after its end:", code(err))
	return nil
}

func spell(what string, context *wasinn.Context, word string) error {
	if err := prompt(context, word); err != nil {
		return err
	}
	fmt.Printf("%s:", what)
	for _, err := range context.Sequence() {
		if err != nil {
			fmt.Println("", code(err))
			return nil
		}
		letter, err := wasinn.Output[uint8](context, 0)
		if err != nil {
			return err
		}
		fmt.Printf(" %s", letter)
	}
	fmt.Println(" end")
	return nil
}

func prompt(context *wasinn.Context, word string) error {
	tensor, err := wasinn.NewTensor([]byte(word), len(word))
	if err != nil {
		return err
	}
	return context.SetInputAt(0, "prompt", tensor)
}

func list[T any](items []T) string {
	texts := make([]string, len(items))
	for at, item := range items {
		texts[at] = fmt.Sprint(item)
	}
	return "[" + strings.Join(texts, ", ") + "]"
}

// code gives the name of the error of a call that fails.
func code(err error) string {
	var reason wasinn.Code
	if errors.As(err, &reason) {
		return reason.Error()
	}
	return "success"
}

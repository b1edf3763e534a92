package wasinn_test

import (
	"errors"
	"fmt"
	"log"

	"wasinn"
)

// The host has the graphs "relu", which gives max(x, 0) of its input x, f32 [4]; and "learner", "echo" and "speller", as
// for the program extensions.

func Example() {
	graph, err := wasinn.LoadByName("relu") // as the host's operator named it
	if err != nil {
		log.Fatal(err)
	}
	defer graph.Close()
	context, err := graph.NewContext()
	if err != nil {
		log.Fatal(err)
	}
	defer context.Close()
	x, err := wasinn.NewTensor([]float32{-1, 2, -3, 4}, 4)
	if err != nil {
		log.Fatal(err)
	}
	if err := context.SetInputAt(0, "x", x); err != nil {
		log.Fatal(err)
	}
	if err := context.Compute(); err != nil {
		log.Fatal(err)
	}
	y, err := wasinn.Output[float32](context, 0)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(y)
	// Output: [0 2 0 4]
}

func ExampleError() {
	_, err := wasinn.LoadByName("no such graph")
	if errors.Is(err, wasinn.ErrNotFound) {
		fmt.Println("the operator named no graph so")
	}
	var failed *wasinn.Error
	if errors.As(err, &failed) {
		fmt.Println(failed.Code, "-", failed.Code.Text())
	}
	// Output:
	// the operator named no graph so
	// not-found - no graph or signature has this name
}

func ExampleNewTensor() {
	image, err := wasinn.NewTensor(make([]float32, 3*8*8), 1, 3, 8, 8)
	fmt.Println(image.Type(), image.Dims(), err)
	_, err = wasinn.NewTensor([]wasinn.BF16{wasinn.BF16Of(0.5)}, 2)
	fmt.Println(err)
	// Output:
	// f32 [1 3 8 8] <nil>
	// invalid-argument: 1 elements of bf16 don't fit the dims [2]
}

func ExampleOutputInto() {
	context := opened("relu")
	x, _ := wasinn.NewTensor([]float32{-1, 2, -3, 4}, 4)
	if err := errors.Join(context.SetInput(0, x), context.Compute()); err != nil {
		log.Fatal(err)
	}
	buffer := make([]float32, 2)
	_, err := wasinn.OutputInto(context, 0, buffer)
	var small *wasinn.Error
	if errors.As(err, &small) && small.Code == wasinn.ErrTooLarge {
		buffer = make([]float32, small.Needed/4)
	}
	count, err := wasinn.OutputInto(context, 0, buffer)
	fmt.Println(count, buffer, err)
	// Output: 4 [0 2 0 4] <nil>
}

func ExampleGraph_Describe() {
	graph, err := wasinn.LoadByName("learner")
	if err != nil {
		log.Fatal(err)
	}
	defer graph.Close()
	description, err := graph.Describe()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(description.Encoding, description.Device, description.Signatures)
	for _, input := range description.Inputs {
		fmt.Println(input.Name, input.Type, input.Dims)
	}
	// Output:
	// tensorflowlite npu:7 [infer train]
	// x f32 [2]
}

func ExampleContext_ComputeNamed() {
	context := opened("relu")
	x, err := wasinn.NewTensor([]float32{-1, 2, -3, 4}, 4)
	if err != nil {
		log.Fatal(err)
	}
	outputs, err := context.ComputeNamed(map[string]wasinn.Tensor{"x": x})
	if err != nil {
		log.Fatal(err)
	}
	for _, output := range outputs {
		numbers, err := wasinn.Elements[float32](output.Tensor)
		fmt.Println(output.Name, output.Tensor.Dims(), numbers, err)
	}
	// Output: y [4] [0 2 0 4] <nil>
}

func ExampleContext_Sequence() {
	context := opened("speller")
	word := []byte("abc")
	prompt, err := wasinn.NewTensor(word, len(word))
	if err != nil {
		log.Fatal(err)
	}
	if err := context.SetInputAt(0, "prompt", prompt); err != nil {
		log.Fatal(err)
	}
	for number, err := range context.Sequence() {
		if err != nil {
			log.Fatal(err)
		}
		letter, err := wasinn.Output[uint8](context, 0)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d: %s\n", number, letter)
	}
	// Output:
	// 0: a
	// 1: b
	// 2: c
}

func ExampleContext_SetStrings() {
	context := opened("echo")
	if err := context.SetStrings(0, []string{"any", "bytes", "\xff"}, 3); err != nil {
		log.Fatal(err)
	}
	if err := context.Compute(); err != nil {
		log.Fatal(err)
	}
	strings, err := context.Strings(0)
	fmt.Printf("%q %v\n", strings, err)
	// Output: ["any" "bytes" "\xff"] <nil>
}

// opened gives a context of a graph, which the garbage collector gives back.
func opened(name string) *wasinn.Context {
	graph, err := wasinn.LoadByName(name)
	if err != nil {
		log.Fatal(err)
	}
	context, err := graph.NewContext()
	if err != nil {
		log.Fatal(err)
	}
	return context
}

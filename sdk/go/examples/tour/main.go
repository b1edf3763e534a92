// Arrays of every type in and out, a model from bytes, and the errors of mistakes.
//
//	tour ENCODING FILE...
//
// The host has the graph "types", with an input [2] for each type but bf16, each of which is an output too; "bf16", with
// one of bf16; and the files of a model that gives max(x, 0) of its input x, f32 [4].
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"wasinn"
)

var names = []string{"f16", "f32", "f64", "u8", "i32", "i64"}

func main() {
	if err := tour(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func tour(arguments []string) error {
	if len(arguments) < 2 {
		return errors.New("usage: tour ENCODING FILE...")
	}
	_, err := wasinn.LoadByName("no such graph")
	var unknown *wasinn.Error
	if !errors.As(err, &unknown) {
		return errors.New("a graph has this name")
	}
	fmt.Printf("unknown name: %v, with a message: %v\n", unknown.Code, unknown.Message != "")

	graph, err := wasinn.LoadByName("types")
	if err != nil {
		return err
	}
	defer graph.Close()
	if err := mistakes(graph); err != nil {
		return err
	}
	if err := arrays(graph); err != nil {
		return err
	}

	numbers, err := bf16()
	if err != nil {
		numbers = code(err)
	}
	fmt.Println("bf16:", numbers)

	encoding, err := wasinn.ParseEncoding(arguments[0])
	if err != nil {
		return err
	}
	if err := fromBytes(encoding, arguments[1:]); err != nil {
		return err
	}
	_, err = wasinn.Load([][]byte{[]byte("no model")}, encoding, wasinn.CPU)
	fmt.Println("bad model:", err != nil)

	again, err := wasinn.LoadByName("types") // of the same name, while the first one is there
	if err != nil {
		return err
	}
	defer again.Close()
	if err := graph.Close(); err != nil {
		return err
	}
	context, err := again.NewContext()
	fmt.Println("after a drop:", code(err))
	if err != nil {
		return err
	}
	return context.Close()
}

// mistakes shows the errors of contexts that are used wrongly.
func mistakes(graph *wasinn.Graph) error {
	empty, err := graph.NewContext()
	if err != nil {
		return err
	}
	defer empty.Close()
	fmt.Println("no inputs:", code(empty.Compute()))

	_, err = wasinn.NewTensor([]float32{1, -2}, 3)
	fmt.Println("wrong dims:", code(err))

	wrong, err := graph.NewContext()
	if err != nil {
		return err
	}
	defer wrong.Close()
	fmt.Println("wrong type:", code(set(wrong, 1, []uint8{1, 2})))
	return nil
}

// arrays passes arrays of every type in and out.
func arrays(graph *wasinn.Graph) error {
	context, err := graph.NewContext()
	if err != nil {
		return err
	}
	defer context.Close()
	err = errors.Join(
		set(context, 0, []wasinn.F16{0x3c00, 0xc000}),
		set(context, 1, []float32{1, -2}),
		set(context, 2, []float64{1, -2}),
		set(context, 3, []uint8{1, 254}),
		set(context, 4, []int32{1, -2}),
		set(context, 5, []int64{1, -9007199254740993}),
	)
	if err != nil {
		return err
	}
	_, err = wasinn.Output[float32](context, 1)
	fmt.Println("no output yet:", code(err))
	for range 2 { // inputs stay set
		if err := context.Compute(); err != nil {
			return err
		}
	}
	err = errors.Join(
		show[wasinn.F16](context, 0),
		show[float32](context, 1),
		show[float64](context, 2),
		show[uint8](context, 3),
		show[int32](context, 4),
		show[int64](context, 5),
	)
	if err != nil {
		return err
	}
	_, err = wasinn.Output[float32](context, 6)
	fmt.Println("no such output:", code(err))

	_, err = wasinn.OutputInto(context, 5, make([]int64, 1))
	var small *wasinn.Error
	if !errors.As(err, &small) {
		return errors.New("one element was enough")
	}
	fmt.Printf("small buffer: %v, %d bytes needed\n", small.Code, small.Needed)
	large := make([]int32, 3)
	count, err := wasinn.OutputInto(context, 4, large)
	if err != nil {
		return err
	}
	fmt.Println("large buffer:", count, "of", list(large))
	return nil
}

func set[E wasinn.Element](context *wasinn.Context, index int, elements []E) error {
	tensor, err := wasinn.NewTensor(elements, 2)
	if err != nil {
		return err
	}
	return context.SetInputAt(index, names[index], tensor)
}

func show[E wasinn.Element](context *wasinn.Context, index int) error {
	elements, err := wasinn.Output[E](context, index)
	if err == nil {
		fmt.Printf("%s: %s\n", names[index], list(elements))
	}
	return err
}

// bf16 passes numbers of a type that the core ABI lacks.
func bf16() (string, error) {
	graph, err := wasinn.LoadByName("bf16")
	if err != nil {
		return "", err
	}
	defer graph.Close()
	context, err := graph.NewContext()
	if err != nil {
		return "", err
	}
	defer context.Close()
	tensor, err := wasinn.NewTensor([]wasinn.BF16{wasinn.BF16Of(1), wasinn.BF16Of(-2)}, 2)
	if err != nil {
		return "", err
	}
	if err := context.SetInputAt(0, "x", tensor); err != nil {
		return "", err
	}
	if err := context.Compute(); err != nil {
		return "", err
	}
	numbers, err := wasinn.Output[wasinn.BF16](context, 0)
	if err != nil {
		return "", err
	}
	floats := make([]float32, len(numbers))
	for at, number := range numbers {
		floats[at] = number.Float32()
	}
	return list(floats), nil
}

// fromBytes runs a model whose files the guest reads.
func fromBytes(encoding wasinn.Encoding, paths []string) error {
	directory, err := os.OpenRoot(".") // the guest's first one: os.ReadFile finds only paths from /
	if err != nil {
		return err
	}
	defer directory.Close()
	var builders [][]byte
	for _, path := range paths {
		content, err := directory.ReadFile(path)
		if err != nil {
			return err
		}
		builders = append(builders, content)
	}
	graph, err := wasinn.Load(builders, encoding, wasinn.CPU)
	if err != nil {
		return err
	}
	defer graph.Close()
	context, err := graph.NewContext()
	if err != nil {
		return err
	}
	defer context.Close()
	tensor, err := wasinn.NewTensor([]float32{-1, 2, -3, 4}, 4)
	if err != nil {
		return err
	}
	if err := context.SetInputAt(0, "x", tensor); err != nil {
		return err
	}
	if err := context.Compute(); err != nil {
		return err
	}
	numbers, err := wasinn.Output[float32](context, 0)
	if err != nil {
		return err
	}
	fmt.Println("from bytes:", list(numbers))
	return nil
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

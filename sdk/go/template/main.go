// A guest in Go: it tells the colour of a red square. Your own begins here.
package main

import (
	"errors"
	"fmt"
	"os"

	"wasinn"
)

const size = 8

var labels = []string{"black", "white", "red", "green", "blue", "yellow"}

func main() {
	label, err := colour()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(label)
}

// colours gives the model that the operator named, or else the one in the guest's own directory.
func colours() (*wasinn.Graph, error) {
	graph, err := wasinn.LoadByName("colours")
	if !errors.Is(err, wasinn.ErrNotFound) {
		return graph, err
	}
	fmt.Println("no graph is named colours here: loading colours.onnx")
	directory, err := os.OpenRoot(".") // the guest's first one: os.ReadFile finds only paths from /
	if err != nil {
		return nil, fmt.Errorf("colours.onnx: %w: give the guest this directory, --dir .", err)
	}
	defer directory.Close()
	model, err := directory.ReadFile("colours.onnx")
	if err != nil {
		return nil, err
	}
	return wasinn.Load([][]byte{model}, wasinn.ONNX, wasinn.CPU)
}

func colour() (string, error) {
	graph, err := colours()
	if err != nil {
		return "", err
	}
	defer graph.Close()
	context, err := graph.NewContext()
	if err != nil {
		return "", err
	}
	defer context.Close()

	picture := make([]float32, 3*size*size)
	for at := range picture {
		picture[at] = -0.9
		if at < size*size { // the red channel comes first
			picture[at] = 0.9
		}
	}
	tensor, err := wasinn.NewTensor(picture, 1, 3, size, size)
	if err != nil {
		return "", err
	}
	if err := context.SetInputAt(0, "picture", tensor); err != nil {
		return "", err
	}
	if err := context.Compute(); err != nil {
		return "", err
	}
	scores, err := wasinn.Output[float32](context, 0)
	if err != nil {
		return "", err
	}
	best := 0
	for at, score := range scores {
		if score > scores[best] {
			best = at
		}
	}
	return labels[best], nil
}

// Inferences of four numbers: loop GRAPH INPUT ROUNDS.
package main

import (
	"os"
	"strconv"

	"wasinn"
)

func main() {
	graph, err := wasinn.LoadByName(os.Args[1])
	check(err)
	defer graph.Close()
	context, err := graph.NewContext()
	check(err)
	defer context.Close()
	rounds, err := strconv.Atoi(os.Args[3])
	check(err)
	x, y := []float32{1, -1, 2, -2}, make([]float32, 4)
	for range rounds {
		tensor, err := wasinn.NewTensor(x, 4)
		check(err)
		check(context.SetInputAt(0, os.Args[2], tensor))
		check(context.Compute())
		_, err = wasinn.OutputInto(context, 0, y)
		check(err)
	}
	if y[0] != 1 {
		os.Exit(1)
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

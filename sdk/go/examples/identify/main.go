// What is in these files? By the model of Magika, from their bytes alone.
//
//	identify GRAPH LABELS FILE...
//
// The model sees 1,024 bytes of a file's beginning and as many of its end, each without the white space around the
// content, each byte as an i32; 256 stands where there is no byte. It gives a probability for each label.
package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"wasinn"
)

const (
	seen        = 1024
	block       = 4096
	noByte      = 256
	fewestBytes = 8
	space       = " \t\n\v\f\r"
)

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: identify GRAPH LABELS FILE...")
		os.Exit(2)
	}
	if err := identify(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func identify(name, labelsPath string, files []string) error {
	directory, err := os.OpenRoot(".") // the guest's first one: os.ReadFile finds only paths from /
	if err != nil {
		return err
	}
	defer directory.Close()
	text, err := directory.ReadFile(labelsPath)
	if err != nil {
		return err
	}
	labels := strings.Split(strings.TrimSpace(string(text)), "\n")
	graph, err := wasinn.LoadByName(name)
	if err != nil {
		return err
	}
	defer graph.Close()
	context, err := graph.NewContext()
	if err != nil {
		return err
	}
	defer context.Close()
	for _, file := range files {
		content, err := directory.ReadFile(file)
		if err != nil {
			return err
		}
		features := featuresOf(content)
		if features[fewestBytes-1] == noByte {
			fmt.Printf("%s: too short to tell\n", file)
			continue
		}
		scores, err := scoresOf(context, features)
		if err != nil {
			return err
		}
		best, label := 0, "?"
		for at, score := range scores {
			if score > scores[best] {
				best = at
			}
		}
		if best < len(labels) {
			label = labels[best]
		}
		fmt.Printf("%s: %s, %d %%\n", file, label, int(100*scores[best]+0.5))
	}
	return nil
}

func featuresOf(file []byte) []int32 {
	size := min(len(file), block)
	first := bytes.TrimLeft(file[:size], space)
	last := bytes.TrimRight(file[len(file)-size:], space)
	features := make([]int32, 2*seen)
	for at := range seen {
		features[at], features[2*seen-1-at] = noByte, noByte
		if at < len(first) {
			features[at] = int32(first[at])
		}
		if at < len(last) {
			features[2*seen-1-at] = int32(last[len(last)-1-at])
		}
	}
	return features
}

func scoresOf(context *wasinn.Context, features []int32) ([]float32, error) {
	input, err := wasinn.NewTensor(features, 1, 2*seen)
	if err != nil {
		return nil, err
	}
	if err := context.SetInputAt(0, "bytes", input); err != nil {
		return nil, err
	}
	if err := context.Compute(); err != nil {
		return nil, err
	}
	return wasinn.Output[float32](context, 0)
}

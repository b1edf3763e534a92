// What is in these pictures? The five best labels of each.
//
//	classify GRAPH INPUT LABELS PICTURE...
//
// A picture is a binary PPM of the size that the model takes. The model's only input has the name INPUT, and is f32
// [1, 3, height, width] of (byte - 127) / 128. The scores are taken for logits.
package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"

	"wasinn"
)

func main() {
	if len(os.Args) < 5 {
		fmt.Fprintln(os.Stderr, "usage: classify GRAPH INPUT LABELS PICTURE...")
		os.Exit(2)
	}
	if err := classify(os.Args[1], os.Args[2], os.Args[3], os.Args[4:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func classify(name, input, labelsPath string, pictures []string) error {
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
	for _, picture := range pictures {
		ppm, err := directory.ReadFile(picture)
		if err != nil {
			return err
		}
		scores, err := scoresOf(context, input, ppm)
		if err != nil {
			return fmt.Errorf("%s: %w", picture, err)
		}
		fmt.Println(picture)
		show(scores, labels)
	}
	return nil
}

// scoresOf gives the model's scores of a picture.
func scoresOf(context *wasinn.Context, input string, ppm []byte) ([]float32, error) {
	image, err := imageOf(ppm)
	if err != nil {
		return nil, err
	}
	if err := context.SetInputAt(0, input, image); err != nil {
		return nil, err
	}
	if err := context.Compute(); err != nil {
		return nil, err
	}
	return wasinn.Output[float32](context, 0)
}

// imageOf gives the numbers of a picture.
func imageOf(ppm []byte) (wasinn.Tensor, error) {
	var kind string
	var width, height, greatest int
	reader := bytes.NewReader(ppm)
	_, err := fmt.Fscan(reader, &kind, &width, &height, &greatest)
	pixels := ppm[len(ppm)-max(0, reader.Len()-1):] // a white space is before them
	if err != nil || kind != "P6" || greatest != 255 || width < 1 || height < 1 || len(pixels)/3/width < height {
		return wasinn.Tensor{}, errors.New("the picture is no binary PPM of one byte a colour")
	}
	image := make([]float32, 3*width*height)
	for at := range width * height {
		for colour := range 3 {
			image[colour*width*height+at] = (float32(pixels[3*at+colour]) - 127) / 128
		}
	}
	return wasinn.NewTensor(image, 1, 3, height, width)
}

// show prints the labels of the five best scores.
func show(scores []float32, labels []string) {
	greatest, sum := slices.Max(scores), 0.0
	order := make([]int, len(scores))
	for at, score := range scores {
		order[at] = at
		sum += math.Exp(float64(score - greatest))
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(scores[b], scores[a]) })
	for _, place := range order[:min(5, len(order))] {
		label := "?"
		if place < len(labels) {
			label = labels[place]
		}
		percent := int(100*math.Exp(float64(scores[place]-greatest))/sum + 0.5)
		fmt.Printf("  %3d %%  %s\n", percent, label)
	}
}

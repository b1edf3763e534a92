//go:build wasmedge

package wasinn_test

import (
	"errors"
	"fmt"
	"log"
	"testing"

	"wasinn"
)

func ExampleContext_Singles() {
	context := opened("speller")
	prompt, err := wasinn.NewTensor([]byte("abc"), 3)
	if err != nil {
		log.Fatal(err)
	}
	if err := context.SetInput(0, prompt); err != nil {
		log.Fatal(err)
	}
	for piece, err := range context.Singles() {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s ", piece)
	}
	fmt.Println(context.FiniSingle())
	// Output: a b c <nil>
}

func TestSinglesTellAFailureOnceAndEnd(t *testing.T) {
	context := opened("speller")
	defer context.Close()
	prompt, _ := wasinn.NewTensor([]byte("ab?c"), 4)
	if err := context.SetInput(0, prompt); err != nil {
		t.Fatal(err)
	}
	var text string
	var last error
	for piece, err := range context.Singles() {
		text += string(piece)
		last = err
	}
	if text != "ab" || !errors.Is(last, wasinn.ErrRuntimeError) {
		t.Errorf("%q, %v", text, last)
	}
}

func TestTheGraphOfAClosedContextStaysForOthers(t *testing.T) {
	first, second := opened("relu"), opened("relu") // one handle
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if y, err := relu(second, -1, 2, -3, 4); err != nil || y[3] != 4 {
		t.Errorf("%v, %v", y, err)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
}

//go:build wasmedge

package main

import (
	"fmt"

	"wasinn"
)

func streaming() error {
	_, err := wasinn.LoadByNameWithConfig("speller", "{}")
	fmt.Println("configured:", code(err))
	context, err := open(wasinn.LoadByNameWithConfig("speller", ""))
	if err != nil {
		return err
	}
	defer context.Close()
	if err := prompt(context.Context, "abc"); err != nil {
		return err
	}
	fmt.Print("streaming:")
	end := context.ComputeSingle()
	for ; end == nil; end = context.ComputeSingle() {
		piece, err := context.OutputSingle(0)
		if err != nil {
			return err
		}
		fmt.Printf(" %s", piece)
	}
	fmt.Println("", code(end))
	return context.FiniSingle()
}

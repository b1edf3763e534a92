// A talk with a language model, whose answers are printed as they are written, by sequences (an extension).
//
//	chat GRAPH OPTIONS [MESSAGE]...
//
// OPTIONS are the runtime's, in JSON. The messages are said one after the other; without any, each line of the standard
// input is one. The model must be one that understands ChatML, as many small ones do. Contexts remember nothing: the
// whole talk is the prompt each time.
package main

import (
	"bufio"
	"fmt"
	"os"

	"wasinn"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: chat GRAPH OPTIONS [MESSAGE]...")
		os.Exit(2)
	}
	if err := chat(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func chat(name, options string, messages []string) error {
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
	if err := setText(context, 1, "options", []byte(options)); err != nil {
		return err
	}
	var talk []byte
	for _, message := range messages {
		fmt.Printf("> %s\n", message)
		if talk, err = say(context, talk, message); err != nil {
			return err
		}
	}
	if len(messages) > 0 {
		return nil
	}
	lines := bufio.NewScanner(os.Stdin)
	for fmt.Print("> "); lines.Scan(); fmt.Print("> ") {
		if talk, err = say(context, talk, lines.Text()); err != nil {
			return err
		}
	}
	return lines.Err()
}

// say says a message, and prints the model's answer. It gives the talk with both.
func say(context *wasinn.Context, talk []byte, message string) ([]byte, error) {
	talk = fmt.Appendf(talk, "<|im_start|>user\n%s<|im_end|>\n<|im_start|>assistant\n", message)
	if err := setText(context, 0, "prompt", talk); err != nil {
		return nil, err
	}
	for _, err := range context.Sequence() {
		if err != nil {
			return nil, err
		}
		piece, err := wasinn.Output[uint8](context, 0)
		if err != nil {
			return nil, err
		}
		if _, err := os.Stdout.Write(piece); err != nil {
			return nil, err
		}
		talk = append(talk, piece...)
	}
	fmt.Println()
	return append(talk, "<|im_end|>\n"...), nil
}

func setText(context *wasinn.Context, index int, name string, text []byte) error {
	tensor, err := wasinn.NewTensor(text, len(text))
	if err != nil {
		return err
	}
	return context.SetInputAt(index, name, tensor)
}

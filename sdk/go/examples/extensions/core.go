//go:build !wasmedge

package main

// streaming needs WasmEdge's functions.
func streaming() error {
	return nil
}

"""The messages of the protocol over gRPC: `open_inference.proto`, and what `make stubs` generates from it."""

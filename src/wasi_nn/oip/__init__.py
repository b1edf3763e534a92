"""The Open Inference Protocol's words, tensors and messages: for the server, and for the runtime that is its client."""

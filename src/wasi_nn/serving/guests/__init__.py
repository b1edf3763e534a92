"""Guests as endpoints: WebAssembly that a server runs for its requests."""

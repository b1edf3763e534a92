"""Traces: recording the calls of a guest, and replaying them."""

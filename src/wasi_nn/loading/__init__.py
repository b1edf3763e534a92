"""From a model's bytes, file or name to a graph."""

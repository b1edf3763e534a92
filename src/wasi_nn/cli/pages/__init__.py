"""Pages for browsers that need no other file: of a trace, and of a model."""

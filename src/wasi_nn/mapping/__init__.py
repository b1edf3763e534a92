"""A guest over a data set: many items, a sandbox for each, some at a time."""

"""The process that this package runs in: its threads, forks, descriptors, files and memory, and its child processes."""

"""`python -m wasi_nn` is the command `wasi-nn`."""

from wasi_nn.cli import command

command()

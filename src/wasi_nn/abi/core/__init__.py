"""Functions for core modules: `wasi_ephemeral_nn`, the dialects of other hosts, and a few of WASI preview 1."""

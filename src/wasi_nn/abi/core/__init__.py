"""What core modules import: `wasi_ephemeral_nn`, the dialects of other hosts, and WASI preview 1 where it is ours."""

"""Functions for components: `wasi:nn`, through a bridge component beside the guest."""

"""What components import: `wasi:nn`, through a bridge component that is put beside the guest."""

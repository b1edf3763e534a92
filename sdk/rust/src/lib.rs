//! wasi-nn for guests in Rust: load a graph, give it arrays, get arrays.
//!
//! ```no_run
//! use wasi_nn_guest::{Graph, Tensor};
//!
//! fn main() -> Result<(), wasi_nn_guest::Error> {
//!     let mut context = Graph::load_by_name("net")?.context()?; // it keeps its graph
//!     context.set_input_at(0, "x", &Tensor::new(&[1, 4], &[0.5f32, -1.0, 2.0, 3.0])?)?;
//!     context.compute()?;
//!     let scores: Vec<f32> = context.output(0)?;
//!     println!("{:?}", scores);
//!     Ok(())
//! }
//! ```
//!
//! The same program is a core module or a component:
//!
//! | build | ABI |
//! |---|---|
//! | `--target wasm32-wasip1` (`wasm32-wasi` up to Rust 1.77) | core, `wasi_ephemeral_nn` |
//! | the same with the feature `wasmedge` | core, with WasmEdge's functions |
//! | `--target wasm32-wasip2`, or any other one with the feature `component` | component, `wasi:nn@0.2.0-rc-2024-10-28` |
//!
//! The crate has no dependencies, and without the feature `std` it needs `alloc` only. What a value stands for is given
//! back when it is dropped, as far as the ABI can: the core ABI of the specification can't, WasmEdge's and components can.
//!
//! Functions that say "extension" need a host with the extensions `wasi-nn:ext`. A guest imports only the functions that
//! it uses, so a guest without them runs on any host.

#![cfg_attr(not(feature = "std"), no_std)]
#![deny(missing_docs)]

extern crate alloc;

#[cfg(all(feature = "component", feature = "wasmedge"))]
compile_error!("WasmEdge's functions are for core modules: choose one of the features `component` and `wasmedge`");

mod context;
mod description;
mod error;
mod graph;
mod made_by;
#[rustfmt::skip] // it is written as it is
mod numbers;
mod tensor;

#[cfg(not(any(feature = "component", target_env = "p2")))]
#[path = "core_abi.rs"]
mod abi;
#[cfg(any(feature = "component", target_env = "p2"))]
#[path = "component_abi.rs"]
mod abi;

pub use context::Context;
pub use description::{Description, Dimension, ElementType, TensorDescription};
pub use error::{Error, Result};
pub use graph::Graph;
pub use numbers::{Code, Encoding, Target, Type};
pub use tensor::{Bf16, Element, OwnedTensor, Tensor, F16};

/// Call this first in `main` if the guest is a component that Rust up to 1.66 builds (feature `old-start`): it runs the
/// constructors of the C library. Without the feature it does nothing.
pub fn start() {
    #[cfg(feature = "old-start")]
    {
        extern "C" {
            fn __wasm_call_ctors();
        }
        // Sound: it is the linker's function, and no newer start-up code has called it.
        unsafe { __wasm_call_ctors() }
    }
}

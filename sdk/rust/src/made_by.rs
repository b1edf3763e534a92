//! What a guest tells of its making. Written by tools/make_sdk.py.
//!
//! `wasi-nn inspect` shows it. It is in a custom section of its own, which linkers keep where they strip all others.

#[cfg(target_arch = "wasm32")]
#[link_section = "wasi_nn_sdk"]
#[used]
static MADE_BY: [u8; 41] = *b"sdk wasi-nn for Rust 0.1.0\nlanguage Rust\n";

/// Keeps the section in a program that calls this.
pub(crate) fn link() {
    // Sound: it reads a byte of a static.
    #[cfg(target_arch = "wasm32")]
    unsafe {
        core::ptr::read_volatile(&MADE_BY[0]);
    }
}

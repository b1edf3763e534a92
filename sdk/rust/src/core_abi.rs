//! The core ABI: `wasi_ephemeral_nn`, `wasi_nn_ext`, and with the feature `wasmedge` WasmEdge's functions.

use crate::description::{Description, Dimension, ElementType, Reader, TensorDescription};
use crate::error::{Error, Result};
use crate::numbers::{Code, Encoding, Target, Type};
use crate::tensor::{bytes_of_mut, whole, Element, OwnedTensor, Tensor};
use alloc::string::String;
use alloc::vec::Vec;

#[repr(C)]
struct Bytes {
    data: *const u8,
    size: usize,
}

#[repr(C)]
struct TensorRecord {
    dims: *const u32,
    rank: usize,
    ty: u8,
    data: *const u8,
    size: usize,
}

#[link(wasm_import_module = "wasi_ephemeral_nn")]
extern "C" {
    fn load(builders: *const Bytes, count: usize, encoding: u32, target: u32, graph: *mut u32) -> i32;
    fn load_by_name(name: *const u8, size: usize, graph: *mut u32) -> i32;
    fn init_execution_context(graph: u32, context: *mut u32) -> i32;
    fn set_input(context: u32, index: u32, tensor: *const TensorRecord) -> i32;
    fn compute(context: u32) -> i32;
    fn get_output(context: u32, index: u32, buffer: *mut u8, room: usize, size: *mut u32) -> i32;
}

#[link(wasm_import_module = "wasi_nn_ext")]
extern "C" {
    fn describe(graph: u32, buffer: *mut u8, room: usize, size: *mut u32) -> i32;
    fn describe_output(context: u32, index: u32, buffer: *mut u8, room: usize, size: *mut u32) -> i32;
    fn use_signature(graph: u32, name: *const u8, size: usize, other: *mut u32) -> i32;
    fn state_get(graph: u32, buffer: *mut u8, room: usize, size: *mut u32) -> i32;
    fn state_set(graph: u32, state: *const u8, size: usize) -> i32;
    fn begin_sequence(context: u32) -> i32;
    fn next_of_sequence(context: u32, has_piece: *mut u32) -> i32;
    fn end_sequence(context: u32) -> i32;
    fn set_byte_strings(context: u32, index: u32, dims: *const u32, rank: usize, data: *const u8, size: usize) -> i32;
    fn get_byte_strings(context: u32, index: u32, buffer: *mut u8, room: usize, size: *mut u32) -> i32;
}

#[cold]
fn failed(errno: i32, what: &str) -> Error {
    #[cfg(feature = "wasmedge")]
    let code = Code::from_wasmedge(errno as u32);
    #[cfg(not(feature = "wasmedge"))]
    let code = Code::from_core(errno as u32);
    match code {
        Some(code) => Error::new(code, alloc::format!("{}: {}", what, code.text())),
        None => Error::new(Code::Unknown, alloc::format!("{}: errno {}", what, errno)),
    }
}

fn check(errno: i32, what: &str) -> Result<()> {
    if errno == 0 {
        Ok(())
    } else {
        Err(failed(errno, what))
    }
}

fn number_of_type(ty: Type) -> Result<u8> {
    #[cfg(feature = "wasmedge")]
    let number = ty.wasmedge();
    #[cfg(not(feature = "wasmedge"))]
    let number = ty.core();
    number.ok_or_else(|| {
        let message = alloc::format!("the core ABI has no tensors of {}", ty.name());
        Error::new(Code::UnsupportedOperation, message)
    })
}

fn reader() -> Reader {
    #[cfg(feature = "wasmedge")]
    let type_of = Type::from_wasmedge;
    #[cfg(not(feature = "wasmedge"))]
    let type_of = Type::from_core;
    Reader { type_of, free: |_, _| () }
}

/// An answer of unknown size: `ask` writes it into a buffer, and its size to the last pointer. The first buffer has the
/// size of `room`, which is left at the answer's size.
fn answer(what: &str, room: &mut usize, ask: impl Fn(*mut u8, usize, *mut u32) -> i32) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        bytes.resize(*room, 0);
        let mut size = 0;
        let errno = ask(bytes.as_mut_ptr(), bytes.len(), &mut size);
        let fits = size as usize <= bytes.len();
        if errno == 0 || fits || Code::from_core(errno as u32) != Some(Code::TooLarge) {
            check(errno, what)?;
            *room = size as usize;
            bytes.truncate(size as usize);
            return Ok(bytes);
        }
        *room = size as usize;
    }
}

/// A record of a description, in memory that its addresses are right for.
fn described(what: &str, ask: impl Fn(*mut u8, usize, *mut u32) -> i32) -> Result<Vec<u8>> {
    // The buffer isn't moved: `answer` gives the one that the host wrote into.
    answer(what, &mut 1024, ask)
}

pub(crate) struct GraphHandle(u32);

impl GraphHandle {
    pub fn load(builders: &[&[u8]], encoding: Encoding, target: Target) -> Result<GraphHandle> {
        let parts: Vec<Bytes> = builders.iter().map(|it| Bytes { data: it.as_ptr(), size: it.len() }).collect();
        #[cfg(feature = "wasmedge")]
        let (encoding, target) = (encoding.wasmedge(), target.wasmedge());
        #[cfg(not(feature = "wasmedge"))]
        let (encoding, target) = (encoding.core(), target.core());
        // Numbers that no ABI has get the host's own error.
        let (encoding, target) = (u32::from(encoding.unwrap_or(255)), u32::from(target.unwrap_or(255)));
        let mut graph = 0;
        check(unsafe { load(parts.as_ptr(), parts.len(), encoding, target, &mut graph) }, "load")?;
        Ok(GraphHandle::made(graph))
    }

    pub fn load_by_name(name: &str) -> Result<GraphHandle> {
        let mut graph = 0;
        check(unsafe { load_by_name(name.as_ptr(), name.len(), &mut graph) }, "load_by_name")?;
        Ok(GraphHandle::made(graph))
    }

    fn made(handle: u32) -> GraphHandle {
        #[cfg(feature = "wasmedge")]
        wasmedge::take(handle);
        GraphHandle(handle)
    }

    pub fn describe(&self) -> Result<Description> {
        let record = described("describe", |buffer, room, size| unsafe { describe(self.0, buffer, room, size) })?;
        Ok(unsafe { reader().graph(record.as_ptr()) })
    }

    pub fn use_signature(&self, name: &str) -> Result<GraphHandle> {
        let mut other = 0;
        check(unsafe { use_signature(self.0, name.as_ptr(), name.len(), &mut other) }, "use_signature")?;
        Ok(GraphHandle::made(other))
    }

    pub fn state(&self) -> Result<Vec<u8>> {
        answer("state_get", &mut 0, |buffer, room, size| unsafe { state_get(self.0, buffer, room, size) })
    }

    pub fn set_state(&self, state: &[u8]) -> Result<()> {
        check(unsafe { state_set(self.0, state.as_ptr(), state.len()) }, "state_set")
    }
}

/// The first buffer where a host doesn't tell the size of an output, and the most bytes that are tried then.
const FIRST_ROOM: usize = 4096;
const MOST_ROOM: usize = 1 << 30;

pub(crate) struct ContextHandle {
    handle: u32,
    /// The sizes of the outputs that were read last, by index.
    sizes: Vec<usize>,
    /// The graph's description, once it was asked for.
    description: Option<Description>,
}

impl ContextHandle {
    pub fn new(graph: &GraphHandle) -> Result<ContextHandle> {
        let mut handle = 0;
        check(unsafe { init_execution_context(graph.0, &mut handle) }, "init_execution_context")?;
        Ok(ContextHandle { handle, sizes: Vec::new(), description: None })
    }

    pub fn set_input(&mut self, index: u32, tensor: &Tensor<'_>) -> Result<()> {
        let record = TensorRecord {
            dims: tensor.dims.as_ptr(),
            rank: tensor.dims.len(),
            ty: number_of_type(tensor.ty)?,
            data: tensor.data.as_ptr(),
            size: tensor.data.len(),
        };
        check(unsafe { set_input(self.handle, index, &record) }, "set_input")
    }

    pub fn set_input_named(&mut self, graph: &GraphHandle, name: &str, tensor: &Tensor<'_>) -> Result<()> {
        let index = index_of(&self.described(graph)?.inputs, name)?;
        self.set_input(index, tensor)
    }

    fn described(&mut self, graph: &GraphHandle) -> Result<&Description> {
        if self.description.is_none() {
            self.description = Some(graph.describe()?);
        }
        Ok(self.description.as_ref().expect("it was asked for"))
    }

    pub fn set_input_at(&mut self, index: u32, _: &str, tensor: &Tensor<'_>) -> Result<()> {
        self.set_input(index, tensor)
    }

    pub fn compute(&mut self) -> Result<()> {
        check(unsafe { compute(self.handle) }, "compute")
    }

    /// Copy an output into a buffer; gives its size, or an error with the size that it needs.
    fn read(&self, index: u32, buffer: &mut [u8]) -> Result<usize> {
        let mut size = 0;
        let errno = unsafe { get_output(self.handle, index, buffer.as_mut_ptr(), buffer.len(), &mut size) };
        if errno == 0 {
            return Ok(size as usize);
        }
        let is_too_small = size as usize > buffer.len();
        Err(if is_too_small {
            Error::too_small("the output", size as usize, buffer.len())
        } else {
            failed(errno, "get_output")
        })
    }

    pub fn output_into<E: Element>(&mut self, index: u32, buffer: &mut [E]) -> Result<usize> {
        let size = self.read(index, bytes_of_mut(buffer))?;
        whole::<E>(size)
    }

    pub fn output<E: Element>(&mut self, index: u32) -> Result<Vec<E>> {
        let room = self.sizes.get(index as usize).copied().unwrap_or(0);
        let mut elements = alloc::vec![E::default(); room / E::TYPE.size()];
        let size = loop {
            match self.read(index, bytes_of_mut(&mut elements)) {
                Ok(size) => break size,
                Err(error) if error.needed() > 0 => {
                    elements.resize(whole::<E>(error.needed())?, E::default());
                }
                // Not every host tells the size.
                Err(error) if error.code() == Code::TooLarge && elements.len() * E::TYPE.size() < MOST_ROOM => {
                    let room = (elements.len() * E::TYPE.size() * 4).clamp(FIRST_ROOM, MOST_ROOM);
                    elements.resize(room / E::TYPE.size(), E::default());
                }
                Err(error) => return Err(error),
            }
        };
        elements.truncate(whole::<E>(size)?);
        self.keep_size(index, size);
        Ok(elements)
    }

    fn keep_size(&mut self, index: u32, size: usize) {
        let index = index as usize; // an output of this index exists
        if self.sizes.len() <= index {
            self.sizes.resize(index + 1, 0);
        }
        self.sizes[index] = size;
    }

    fn output_description(&self, index: u32) -> Result<TensorDescription> {
        let handle = self.handle;
        let record = described("describe_output", |buffer, room, size| unsafe {
            describe_output(handle, index, buffer, room, size)
        })?;
        Ok(unsafe { reader().tensor(record.as_ptr()) })
    }

    fn described_output(&mut self, index: u32, description: TensorDescription) -> Result<(String, OwnedTensor)> {
        let ty = match description.element_type {
            ElementType::Number(ty) => ty,
            _ => {
                let message = alloc::format!("the output {} isn't of numbers that wasi-nn has", description.name);
                return Err(Error::new(Code::UnsupportedOperation, message));
            }
        };
        let dims = description.dims.unwrap_or_default();
        let dims = dims.iter().map(|it| if let Dimension::Fixed(size) = it { *size } else { 0 }).collect();
        Ok((description.name, OwnedTensor { dims, ty, data: self.output::<u8>(index)? }))
    }

    pub fn output_tensor(&mut self, index: u32) -> Result<(String, OwnedTensor)> {
        let description = self.output_description(index)?;
        self.described_output(index, description)
    }

    pub fn compute_named(
        &mut self,
        graph: &GraphHandle,
        inputs: &[(&str, Tensor<'_>)],
    ) -> Result<Vec<(String, OwnedTensor)>> {
        for (name, tensor) in inputs {
            self.set_input_named(graph, name, tensor)?;
        }
        self.compute()?;
        let declared = self.described(graph)?.outputs.as_ref().map(|it| it.len() as u32);
        let mut outputs = Vec::new();
        loop {
            let index = outputs.len() as u32;
            if Some(index) == declared {
                return Ok(outputs);
            }
            match self.output_description(index) {
                Err(error) if declared.is_none() && error.code() == Code::InvalidArgument => return Ok(outputs),
                description => outputs.push(self.described_output(index, description?)?),
            }
        }
    }

    pub fn begin_sequence(&mut self) -> Result<()> {
        check(unsafe { begin_sequence(self.handle) }, "begin_sequence")
    }

    pub fn next_of_sequence(&mut self) -> Result<bool> {
        let mut has_piece = 0;
        check(unsafe { next_of_sequence(self.handle, &mut has_piece) }, "next_of_sequence")?;
        Ok(has_piece != 0)
    }

    pub fn end_sequence(&mut self) -> Result<()> {
        check(unsafe { end_sequence(self.handle) }, "end_sequence")
    }

    pub fn set_strings(&mut self, index: u32, dims: &[u32], strings: &[&[u8]]) -> Result<()> {
        let mut end = 0;
        let mut data = Vec::with_capacity(strings.iter().map(|it| it.len() + 4).sum());
        for string in strings {
            end += string.len() as u32;
            data.extend_from_slice(&end.to_le_bytes());
        }
        strings.iter().for_each(|it| data.extend_from_slice(it));
        let (dims, rank) = (dims.as_ptr(), dims.len());
        let errno = unsafe { set_byte_strings(self.handle, index, dims, rank, data.as_ptr(), data.len()) };
        check(errno, "set_byte_strings")
    }

    pub fn set_strings_at(&mut self, index: u32, _: &str, dims: &[u32], strings: &[&[u8]]) -> Result<()> {
        self.set_strings(index, dims, strings)
    }

    pub fn strings(&mut self, index: u32) -> Result<Vec<Vec<u8>>> {
        let handle = self.handle;
        let data = answer("get_byte_strings", &mut 0, |buffer, room, size| unsafe {
            get_byte_strings(handle, index, buffer, room, size)
        })?;
        // The ends of n strings are the first 4 n bytes; the last end is the size of what comes after them.
        let end_at = |at: usize| u32::from_le_bytes([data[at], data[at + 1], data[at + 2], data[at + 3]]) as usize;
        let mut count = 0;
        while 4 * count < data.len() && (count == 0 || 4 * count + end_at(4 * count - 4) != data.len()) {
            count += 1;
        }
        let (mut strings, mut from) = (Vec::with_capacity(count), 4 * count);
        for number in 0..count {
            let to = 4 * count + end_at(4 * number);
            strings.push(data[from..to].to_vec());
            from = to;
        }
        Ok(strings)
    }
}

fn index_of(descriptions: &[TensorDescription], name: &str) -> Result<u32> {
    let found = descriptions.iter().position(|it| it.name == name);
    found.map(|index| index as u32).ok_or_else(|| {
        let names: Vec<&str> = descriptions.iter().map(|it| it.name.as_str()).collect();
        Error::new(Code::InvalidArgument, alloc::format!("no input is named {:?}: there are {:?}", name, names))
    })
}

#[cfg(feature = "wasmedge")]
mod wasmedge {
    use super::*;
    use crate::tensor::elements_of;
    use core::cell::UnsafeCell;

    #[link(wasm_import_module = "wasi_ephemeral_nn")]
    extern "C" {
        fn load_by_name_with_config(
            name: *const u8,
            size: usize,
            config: *const u8,
            config_size: usize,
            graph: *mut u32,
        ) -> i32;
        fn compute_single(context: u32) -> i32;
        fn get_output_single(context: u32, index: u32, buffer: *mut u8, room: usize, size: *mut u32) -> i32;
        fn fini_single(context: u32) -> i32;
        fn unload(graph: u32) -> i32;
        fn finalize_execution_context(context: u32) -> i32;
    }

    /// How many `GraphHandle` have each handle: all graphs of one name have the same.
    struct Counts(UnsafeCell<Vec<(u32, usize)>>);

    // Sound: a guest of wasi-nn has one thread, and no reference outlives a function below.
    unsafe impl Sync for Counts {}

    static COUNTS: Counts = Counts(UnsafeCell::new(Vec::new()));

    pub fn take(handle: u32) {
        let counts = unsafe { &mut *COUNTS.0.get() };
        match counts.iter_mut().find(|it| it.0 == handle) {
            Some(found) => found.1 += 1,
            None => counts.push((handle, 1)),
        }
    }

    impl Drop for GraphHandle {
        fn drop(&mut self) {
            let counts = unsafe { &mut *COUNTS.0.get() };
            if let Some(place) = counts.iter().position(|it| it.0 == self.0) {
                counts[place].1 -= 1;
                if counts[place].1 == 0 {
                    counts.swap_remove(place);
                    unsafe { unload(self.0) };
                }
            }
        }
    }

    impl Drop for ContextHandle {
        fn drop(&mut self) {
            unsafe { finalize_execution_context(self.handle) };
        }
    }

    impl GraphHandle {
        pub fn load_by_name_with_config(name: &str, config: &str) -> Result<GraphHandle> {
            let (mut graph, what) = (0, "load_by_name_with_config");
            let (config, size) = (config.as_ptr(), config.len());
            let errno = unsafe { load_by_name_with_config(name.as_ptr(), name.len(), config, size, &mut graph) };
            check(errno, what)?;
            Ok(GraphHandle::made(graph))
        }
    }

    impl ContextHandle {
        pub fn compute_single(&mut self) -> Result<()> {
            check(unsafe { compute_single(self.handle) }, "compute_single")
        }

        pub fn output_single<E: Element>(&mut self, index: u32) -> Result<Vec<E>> {
            let handle = self.handle;
            let bytes = answer("get_output_single", &mut 64, |buffer, room, size| unsafe {
                get_output_single(handle, index, buffer, room, size)
            })?;
            elements_of(&bytes)
        }

        pub fn fini_single(&mut self) -> Result<()> {
            check(unsafe { fini_single(self.handle) }, "fini_single")
        }
    }
}

//! The component ABI: `wasi:nn@0.2.0-rc-2024-10-28` and `wasi-nn:ext@0.1.0`, lowered by hand.
//!
//! wasi:nn has no inputs that stay set: a context keeps their bytes here, and makes tensors of them at each compute.

use crate::description::{Description, Reader, GRAPH_SIZE};
use crate::error::{Error, Result};
use crate::numbers::{Code, Encoding, Target, Type};
use crate::tensor::{bytes_of_mut, elements_of, whole, Element, OwnedTensor, Tensor};
use alloc::alloc::{alloc, dealloc, handle_alloc_error, realloc, Layout};
use alloc::string::String;
use alloc::vec::Vec;
use core::mem::{size_of, take};
use core::ptr::null;

#[repr(C)]
#[derive(Clone, Copy)]
struct List<T> {
    items: *const T,
    count: usize,
}

impl<T> List<T> {
    fn of(items: &[T]) -> List<T> {
        List { items: items.as_ptr(), count: items.len() }
    }

    fn none() -> List<T> {
        List { items: null(), count: 0 }
    }
}

/// A handle: an error's if `is_error`, else of what was asked for.
#[repr(C)]
struct HandleResult {
    is_error: u8,
    handle: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct NamedTensor {
    name: List<u8>,
    tensor: i32,
}

#[repr(C)]
struct ListResult<T> {
    is_error: u8,
    list: List<T>, // an error's handle is in the place of `items`
}

#[repr(C)]
struct PieceResult {
    is_error: u8,
    has_outputs: i32, // one byte, or an error's handle
    outputs: List<NamedTensor>,
}

#[repr(C)]
struct DescriptionResult {
    is_error: u8,
    graph: [u32; GRAPH_SIZE / 4],
}

#[link(wasm_import_module = "wasi:nn/tensor@0.2.0-rc-2024-10-28")]
extern "C" {
    #[link_name = "[constructor]tensor"]
    fn tensor_new(dims: *const u32, rank: usize, ty: u32, data: *const u8, size: usize) -> i32;
    #[link_name = "[method]tensor.dimensions"]
    fn tensor_dimensions(tensor: i32, dims: *mut List<u32>);
    #[link_name = "[method]tensor.ty"]
    fn tensor_ty(tensor: i32) -> u32;
    #[link_name = "[method]tensor.data"]
    fn tensor_data(tensor: i32, data: *mut List<u8>);
    #[link_name = "[resource-drop]tensor"]
    fn tensor_drop(tensor: i32);
}

#[link(wasm_import_module = "wasi:nn/graph@0.2.0-rc-2024-10-28")]
extern "C" {
    fn load(builders: *const List<u8>, count: usize, encoding: u32, target: u32, graph: *mut HandleResult);
    #[link_name = "load-by-name"]
    fn load_by_name(name: *const u8, size: usize, graph: *mut HandleResult);
    #[link_name = "[method]graph.init-execution-context"]
    fn init_execution_context(graph: i32, context: *mut HandleResult);
    #[link_name = "[resource-drop]graph"]
    fn graph_drop(graph: i32);
}

#[link(wasm_import_module = "wasi:nn/inference@0.2.0-rc-2024-10-28")]
extern "C" {
    #[link_name = "[method]graph-execution-context.compute"]
    fn compute(context: i32, inputs: *const NamedTensor, count: usize, outputs: *mut ListResult<NamedTensor>);
    #[link_name = "[resource-drop]graph-execution-context"]
    fn context_drop(context: i32);
}

#[link(wasm_import_module = "wasi:nn/errors@0.2.0-rc-2024-10-28")]
extern "C" {
    #[link_name = "[method]error.code"]
    fn error_code(error: i32) -> u32;
    #[link_name = "[method]error.data"]
    fn error_data(error: i32, data: *mut List<u8>);
    #[link_name = "[resource-drop]error"]
    fn error_drop(error: i32);
}

#[link(wasm_import_module = "wasi-nn:ext/describe@0.1.0")]
extern "C" {
    fn describe(graph: i32, description: *mut DescriptionResult);
}

#[link(wasm_import_module = "wasi-nn:ext/signatures@0.1.0")]
extern "C" {
    #[link_name = "use-signature"]
    fn use_signature(graph: i32, name: *const u8, size: usize, other: *mut HandleResult);
}

#[link(wasm_import_module = "wasi-nn:ext/state@0.1.0")]
extern "C" {
    #[link_name = "state-get"]
    fn state_get(graph: i32, state: *mut ListResult<u8>);
    #[link_name = "state-set"]
    fn state_set(graph: i32, state: *const u8, size: usize, nothing: *mut HandleResult);
}

#[link(wasm_import_module = "wasi-nn:ext/sequences@0.1.0")]
extern "C" {
    fn begin(context: i32, inputs: *const NamedTensor, count: usize, sequence: *mut HandleResult);
    #[link_name = "[method]sequence.next"]
    fn sequence_next(sequence: i32, piece: *mut PieceResult);
    #[link_name = "[resource-drop]sequence"]
    fn sequence_drop(sequence: i32);
}

#[link(wasm_import_module = "wasi-nn:ext/byte-strings@0.1.0")]
extern "C" {
    #[link_name = "new"]
    fn strings_new(dims: *const u32, rank: usize, strings: *const List<u8>, count: usize, tensor: *mut HandleResult);
    #[link_name = "strings"]
    fn strings_of(tensor: i32, strings: *mut ListResult<List<u8>>);
}

// Memory that the host's answers lie in

/// All of it has one alignment, so that whoever frees it needs to know the size only.
const ALIGN: usize = 8;

/// The memory for what a call returns. The host asks for it.
///
/// # Safety
///
/// As the component model's canonical ABI says it.
#[no_mangle]
pub unsafe extern "C" fn cabi_realloc(old: *mut u8, old_size: usize, align: usize, size: usize) -> *mut u8 {
    let layout = Layout::from_size_align_unchecked(size, ALIGN);
    let memory = match (old_size, size) {
        (_, 0) => return align as *mut u8,
        (0, _) => alloc(layout),
        _ => realloc(old, Layout::from_size_align_unchecked(old_size, ALIGN), size),
    };
    if memory.is_null() {
        handle_alloc_error(layout)
    }
    memory
}

/// Give back memory that a call returned.
unsafe fn free(memory: *const u8, size: usize) {
    if size > 0 {
        dealloc(memory as *mut u8, Layout::from_size_align_unchecked(size, ALIGN))
    }
}

/// What is made of a list that a call returned, which is given back.
unsafe fn consume<T, R>(list: List<T>, use_it: impl FnOnce(&[T]) -> R) -> R {
    let items = if list.count == 0 { &[] } else { core::slice::from_raw_parts(list.items, list.count) };
    let result = use_it(items);
    free(list.items.cast(), list.count * size_of::<T>());
    result
}

unsafe fn text(list: List<u8>) -> String {
    consume(list, |bytes| String::from_utf8_lossy(bytes).into_owned())
}

const READER: Reader = Reader { type_of: Type::from_wit, free };

// Errors

#[cold]
unsafe fn failed(error: i32) -> Error {
    let mut data = List::none();
    error_data(error, &mut data);
    let code = Code::from_wit(error_code(error)).unwrap_or(Code::Unknown);
    error_drop(error);
    Error::new(code, text(data))
}

impl HandleResult {
    /// Let a call write its result, and give the handle.
    unsafe fn of(call: impl FnOnce(*mut HandleResult)) -> Result<i32> {
        let mut result = HandleResult { is_error: 0, handle: 0 };
        call(&mut result);
        if result.is_error == 0 {
            Ok(result.handle)
        } else {
            Err(failed(result.handle))
        }
    }
}

impl<T: Copy> ListResult<T> {
    /// Let a call write its result, and give the list.
    unsafe fn of(call: impl FnOnce(*mut ListResult<T>)) -> Result<List<T>> {
        let mut result = ListResult { is_error: 0, list: List::none() };
        call(&mut result);
        if result.is_error == 0 {
            Ok(result.list)
        } else {
            Err(failed(result.list.items as usize as i32))
        }
    }
}

pub(crate) struct GraphHandle(i32);

impl GraphHandle {
    pub fn load(builders: &[&[u8]], encoding: Encoding, target: Target) -> Result<GraphHandle> {
        link_component_type();
        let parts: Vec<List<u8>> = builders.iter().map(|it| List::of(it)).collect();
        let (encoding, target) = (u32::from(encoding.wit().unwrap_or(255)), u32::from(target.wit().unwrap_or(255)));
        unsafe { HandleResult::of(|graph| load(parts.as_ptr(), parts.len(), encoding, target, graph)) }.map(GraphHandle)
    }

    pub fn load_by_name(name: &str) -> Result<GraphHandle> {
        link_component_type();
        unsafe { HandleResult::of(|graph| load_by_name(name.as_ptr(), name.len(), graph)) }.map(GraphHandle)
    }

    pub fn describe(&self) -> Result<Description> {
        let mut result = DescriptionResult { is_error: 0, graph: [0; GRAPH_SIZE / 4] };
        unsafe {
            describe(self.0, &mut result);
            if result.is_error == 0 {
                Ok(READER.graph(result.graph.as_ptr().cast()))
            } else {
                Err(failed(result.graph[0] as i32))
            }
        }
    }

    pub fn use_signature(&self, name: &str) -> Result<GraphHandle> {
        unsafe { HandleResult::of(|other| use_signature(self.0, name.as_ptr(), name.len(), other)) }.map(GraphHandle)
    }

    pub fn state(&self) -> Result<Vec<u8>> {
        unsafe { Ok(consume(ListResult::of(|state| state_get(self.0, state))?, |bytes| bytes.to_vec())) }
    }

    pub fn set_state(&self, state: &[u8]) -> Result<()> {
        unsafe { HandleResult::of(|nothing| state_set(self.0, state.as_ptr(), state.len(), nothing)) }.map(|_| ())
    }
}

impl Drop for GraphHandle {
    fn drop(&mut self) {
        unsafe { graph_drop(self.0) }
    }
}

/// An input that is set.
struct Input {
    name: String,
    dims: Vec<u32>,
    ty: Type,
    data: Vec<u8>,
    /// Makes a tensor of it: of strings or of numbers. A guest without strings imports nothing for them.
    make: unsafe fn(&Input) -> Result<i32>,
    /// Of strings: where each one ends in `data`.
    ends: Vec<usize>,
}

unsafe fn make_numbers(input: &Input) -> Result<i32> {
    let (dims, data) = (&input.dims, &input.data);
    Ok(tensor_new(dims.as_ptr(), dims.len(), number_of(input.ty), data.as_ptr(), data.len()))
}

unsafe fn make_strings(input: &Input) -> Result<i32> {
    let (mut from, mut strings) = (0, Vec::with_capacity(input.ends.len()));
    for to in &input.ends {
        strings.push(List::of(&input.data[from..*to]));
        from = *to;
    }
    let dims = &input.dims;
    HandleResult::of(|tensor| strings_new(dims.as_ptr(), dims.len(), strings.as_ptr(), strings.len(), tensor))
}

fn number_of(ty: Type) -> u32 {
    u32::from(ty.wit().unwrap_or(255)) // wasi:nn has every type
}

/// A tensor that a compute gave: the host's until it is dropped.
struct Output {
    name: String,
    tensor: i32,
}

impl Drop for Output {
    fn drop(&mut self) {
        unsafe { tensor_drop(self.tensor) }
    }
}

impl Output {
    unsafe fn list(list: List<NamedTensor>) -> Vec<Output> {
        consume(list, |items| items.iter().map(|it| Output { name: text(it.name), tensor: it.tensor }).collect())
    }

    fn ty(&self) -> Result<Type> {
        let number = unsafe { tensor_ty(self.tensor) };
        Type::from_wit(number).ok_or_else(|| Error::new(Code::Unknown, alloc::format!("the tensor type {}", number)))
    }

    fn require<E: Element>(&self) -> Result<()> {
        let ty = self.ty()?;
        if ty == E::TYPE || E::TYPE == Type::U8 {
            return Ok(());
        }
        let message = alloc::format!("the output {} is of {}, not of {}", self.name, ty.name(), E::TYPE.name());
        Err(Error::new(Code::InvalidArgument, message))
    }

    /// What is made of the output's bytes.
    fn with_data<R>(&self, use_it: impl FnOnce(&[u8]) -> R) -> R {
        let mut data = List::none();
        unsafe {
            tensor_data(self.tensor, &mut data);
            consume(data, use_it)
        }
    }

    fn tensor(&self) -> Result<OwnedTensor> {
        let mut dims = List::none();
        let dims = unsafe {
            tensor_dimensions(self.tensor, &mut dims);
            consume(dims, |dims| dims.to_vec())
        };
        Ok(OwnedTensor { dims, ty: self.ty()?, data: self.with_data(|data| data.to_vec()) })
    }
}

/// A sequence that is under way, and what drops it. A guest without sequences imports nothing for them.
struct Sequence(i32, unsafe extern "C" fn(i32));

impl Drop for Sequence {
    fn drop(&mut self) {
        unsafe { self.1(self.0) }
    }
}

pub(crate) struct ContextHandle {
    sequence: Option<Sequence>, // dropped before the context
    outputs: Vec<Output>,
    inputs: Vec<Input>,
    named: Vec<NamedTensor>,
    handle: i32,
}

impl Drop for ContextHandle {
    fn drop(&mut self) {
        unsafe { context_drop(self.handle) }
    }
}

impl ContextHandle {
    pub fn new(graph: &GraphHandle) -> Result<ContextHandle> {
        let handle = unsafe { HandleResult::of(|context| init_execution_context(graph.0, context))? };
        Ok(ContextHandle { sequence: None, outputs: Vec::new(), inputs: Vec::new(), named: Vec::new(), handle })
    }

    pub fn set_input(&mut self, index: u32, tensor: &Tensor<'_>) -> Result<()> {
        let mut digits = [0; 10];
        self.set_input_at(index, decimal(index, &mut digits), tensor)
    }

    pub fn set_input_named(&mut self, _: &GraphHandle, name: &str, tensor: &Tensor<'_>) -> Result<()> {
        self.set_input_at(0, name, tensor)
    }

    pub fn set_input_at(&mut self, _: u32, name: &str, tensor: &Tensor<'_>) -> Result<()> {
        self.sequence = None;
        let input = self.input(name);
        input.ty = tensor.ty;
        input.make = make_numbers;
        input.dims.clear();
        input.dims.extend_from_slice(tensor.dims);
        input.data.clear();
        input.data.extend_from_slice(tensor.data);
        Ok(())
    }

    /// The input of a name, which is new if there was none.
    fn input(&mut self, name: &str) -> &mut Input {
        let place = self.inputs.iter().position(|it| it.name == name).unwrap_or_else(|| {
            let (name, dims, data, ends) = (String::from(name), Vec::new(), Vec::new(), Vec::new());
            self.inputs.push(Input { name, dims, ty: Type::U8, data, make: make_numbers, ends });
            self.inputs.len() - 1
        });
        &mut self.inputs[place]
    }

    /// Tensors of all inputs, which a call takes.
    fn make_inputs(&mut self) -> Result<()> {
        self.named.clear();
        for input in &self.inputs {
            match unsafe { (input.make)(input) } {
                Ok(tensor) => self.named.push(NamedTensor { name: List::of(input.name.as_bytes()), tensor }),
                Err(error) => {
                    self.named.iter().for_each(|it| unsafe { tensor_drop(it.tensor) });
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    pub fn compute(&mut self) -> Result<()> {
        self.sequence = None;
        self.outputs.clear();
        self.make_inputs()?;
        self.outputs = unsafe { compute_with(self.handle, &self.named)? };
        Ok(())
    }

    fn found(&self, index: u32) -> Result<&Output> {
        if self.outputs.is_empty() {
            return Err(Error::new(Code::RuntimeError, "there is no output: compute first"));
        }
        self.outputs.get(index as usize).ok_or_else(|| {
            let message = alloc::format!("no output has the index {}: there are {}", index, self.outputs.len());
            Error::new(Code::InvalidArgument, message)
        })
    }

    pub fn output_into<E: Element>(&mut self, index: u32, buffer: &mut [E]) -> Result<usize> {
        let output = self.found(index)?;
        output.require::<E>()?;
        output.with_data(|data| {
            let count = whole::<E>(data.len())?;
            let room = bytes_of_mut(buffer);
            if data.len() > room.len() {
                return Err(Error::too_small("the output", data.len(), room.len()));
            }
            room[..data.len()].copy_from_slice(data);
            Ok(count)
        })
    }

    pub fn output<E: Element>(&mut self, index: u32) -> Result<Vec<E>> {
        let output = self.found(index)?;
        output.require::<E>()?;
        output.with_data(elements_of)
    }

    pub fn output_tensor(&mut self, index: u32) -> Result<(String, OwnedTensor)> {
        let output = self.found(index)?;
        Ok((output.name.clone(), output.tensor()?))
    }

    pub fn compute_named(
        &mut self,
        _: &GraphHandle,
        inputs: &[(&str, Tensor<'_>)],
    ) -> Result<Vec<(String, OwnedTensor)>> {
        self.sequence = None;
        self.outputs.clear();
        let of = |(name, it): &(&str, Tensor<'_>)| NamedTensor {
            name: List::of(name.as_bytes()),
            tensor: unsafe {
                tensor_new(it.dims.as_ptr(), it.dims.len(), number_of(it.ty), it.data.as_ptr(), it.data.len())
            },
        };
        let named: Vec<NamedTensor> = inputs.iter().map(of).collect();
        let outputs = unsafe { compute_with(self.handle, &named)? };
        outputs.into_iter().map(|mut it| Ok((take(&mut it.name), it.tensor()?))).collect()
    }

    pub fn begin_sequence(&mut self) -> Result<()> {
        self.sequence = None;
        self.outputs.clear();
        self.make_inputs()?;
        let (handle, named) = (self.handle, &self.named);
        let sequence = unsafe { HandleResult::of(|it| begin(handle, named.as_ptr(), named.len(), it))? };
        self.sequence = Some(Sequence(sequence, sequence_drop));
        Ok(())
    }

    pub fn next_of_sequence(&mut self) -> Result<bool> {
        let sequence = match &self.sequence {
            Some(sequence) => sequence.0,
            None => return Err(Error::new(Code::InvalidArgument, "no sequence is under way")),
        };
        self.outputs.clear();
        let mut piece = PieceResult { is_error: 0, has_outputs: 0, outputs: List::none() };
        unsafe {
            sequence_next(sequence, &mut piece);
            if piece.is_error != 0 {
                self.sequence = None;
                return Err(failed(piece.has_outputs));
            }
            if piece.has_outputs as u8 == 0 {
                return Ok(false);
            }
            self.outputs = Output::list(piece.outputs);
        }
        Ok(true)
    }

    pub fn end_sequence(&mut self) -> Result<()> {
        if self.sequence.take().is_some() {
            self.outputs.clear();
        }
        Ok(())
    }

    pub fn set_strings(&mut self, index: u32, dims: &[u32], strings: &[&[u8]]) -> Result<()> {
        let mut digits = [0; 10];
        self.set_strings_at(index, decimal(index, &mut digits), dims, strings)
    }

    pub fn set_strings_at(&mut self, _: u32, name: &str, dims: &[u32], strings: &[&[u8]]) -> Result<()> {
        self.sequence = None;
        let input = self.input(name);
        input.make = make_strings;
        input.dims.clear();
        input.dims.extend_from_slice(dims);
        input.data.clear();
        input.ends.clear();
        for string in strings {
            input.data.extend_from_slice(string);
            input.ends.push(input.data.len());
        }
        Ok(())
    }

    pub fn strings(&mut self, index: u32) -> Result<Vec<Vec<u8>>> {
        let tensor = self.found(index)?.tensor;
        unsafe {
            let strings = ListResult::of(|strings| strings_of(tensor, strings))?;
            Ok(consume(strings, |items| items.iter().map(|it| consume(*it, |bytes| bytes.to_vec())).collect()))
        }
    }
}

unsafe fn compute_with(context: i32, inputs: &[NamedTensor]) -> Result<Vec<Output>> {
    Ok(Output::list(ListResult::of(|outputs| compute(context, inputs.as_ptr(), inputs.len(), outputs))?))
}

/// An index as text: a component names its inputs.
fn decimal(mut number: u32, digits: &mut [u8; 10]) -> &str {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    core::str::from_utf8(&digits[at..]).unwrap_or("0")
}

// The WIT of these imports: what makes a component of the module reads it, and drops what the guest doesn't use

#[cfg(target_arch = "wasm32")]
#[link_section = "component-type:wasi-nn-guest"]
#[used]
static COMPONENT_TYPE: [u8; include_bytes!("component-type.bin").len()] = *include_bytes!("component-type.bin");

/// Keeps the section in a program that loads a graph.
fn link_component_type() {
    #[cfg(target_arch = "wasm32")]
    unsafe {
        core::ptr::read_volatile(&COMPONENT_TYPE[0]);
    }
}

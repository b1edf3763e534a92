use crate::abi::{ContextHandle, GraphHandle};
use crate::error::Result;
use crate::tensor::{Element, OwnedTensor, Tensor};
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

/// An execution context: inputs that are set, and outputs of the last compute.
///
/// Inputs stay set from one compute to the next. In a component, the functions that set inputs can't fail: `compute` says
/// what is wrong with them. Set an input always by its index or always by its name there.
pub struct Context {
    handle: ContextHandle, // dropped before the graph
    graph: Rc<GraphHandle>,
}

impl Context {
    pub(crate) fn new(graph: Rc<GraphHandle>) -> Result<Context> {
        Ok(Context { handle: ContextHandle::new(&graph)?, graph })
    }

    /// Set an input, counted from 0 in the model's order. In a component the host gets the decimal index as the name.
    pub fn set_input(&mut self, index: u32, tensor: &Tensor<'_>) -> Result<()> {
        self.handle.set_input(index, tensor)
    }

    /// Set an input by its name. In a core module this asks the host for the graph's description. (Extension there.)
    pub fn set_input_named(&mut self, name: &str, tensor: &Tensor<'_>) -> Result<()> {
        self.handle.set_input_named(&self.graph, name, tensor)
    }

    /// Set the input that has this index and this name: by the index in a core module, by the name in a component.
    pub fn set_input_at(&mut self, index: u32, name: &str, tensor: &Tensor<'_>) -> Result<()> {
        self.handle.set_input_at(index, name, tensor)
    }

    /// Run the graph on the inputs that are set.
    pub fn compute(&mut self) -> Result<()> {
        self.handle.compute()
    }

    /// An output of the last compute, counted from 0. In a component, fails with `invalid-argument` if it is of another
    /// type than `E`; `u8` gives the bytes of any.
    pub fn output<E: Element>(&mut self, index: u32) -> Result<Vec<E>> {
        self.handle.output(index)
    }

    /// Copy an output into a buffer; gives the number of elements. Fails with `too-large` if the buffer is too small:
    /// [`Error::needed`](crate::Error::needed) has the bytes that it needs.
    pub fn output_into<E: Element>(&mut self, index: u32, buffer: &mut [E]) -> Result<usize> {
        self.handle.output_into(index, buffer)
    }

    /// An output with its name, type and dims. (Extension in a core module.)
    pub fn output_tensor(&mut self, index: u32) -> Result<(String, OwnedTensor)> {
        self.handle.output_tensor(index)
    }

    /// All outputs, by name, for these inputs alone. (Extension in a core module, where inputs that are set stay so.)
    pub fn compute_named(&mut self, inputs: &[(&str, Tensor<'_>)]) -> Result<Vec<(String, OwnedTensor)>> {
        self.handle.compute_named(&self.graph, inputs)
    }

    /// Begin a sequence on the inputs that are set. (Extension, as all functions below.)
    pub fn begin_sequence(&mut self) -> Result<()> {
        self.handle.begin_sequence()
    }

    /// Make the next piece of the sequence, whose outputs are the context's then. False after the last piece.
    pub fn next_of_sequence(&mut self) -> Result<bool> {
        self.handle.next_of_sequence()
    }

    /// End a sequence early, and drop its outputs.
    pub fn end_sequence(&mut self) -> Result<()> {
        self.handle.end_sequence()
    }

    /// Set an input of byte strings, in row-major order.
    pub fn set_strings(&mut self, index: u32, dims: &[u32], strings: &[&[u8]]) -> Result<()> {
        self.handle.set_strings(index, dims, strings)
    }

    /// Set an input of byte strings that has this index and this name.
    pub fn set_strings_at(&mut self, index: u32, name: &str, dims: &[u32], strings: &[&[u8]]) -> Result<()> {
        self.handle.set_strings_at(index, name, dims, strings)
    }

    /// An output of byte strings, in row-major order.
    pub fn strings(&mut self, index: u32) -> Result<Vec<Vec<u8>>> {
        self.handle.strings(index)
    }
}

/// WasmEdge's streaming.
#[cfg(feature = "wasmedge")]
impl Context {
    /// Make the next piece of a text, the first one after an input was set or a sequence ended. Fails with
    /// `end-of-sequence` after the last one.
    pub fn compute_single(&mut self) -> Result<()> {
        self.handle.compute_single()
    }

    /// The last piece (index 0), or what is told of the sequence so far (index 1).
    pub fn output_single<E: Element>(&mut self, index: u32) -> Result<Vec<E>> {
        self.handle.output_single(index)
    }

    /// End a sequence, and forget it.
    pub fn fini_single(&mut self) -> Result<()> {
        self.handle.fini_single()
    }
}

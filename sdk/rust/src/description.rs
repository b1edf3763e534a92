use crate::numbers::{self, Encoding, Type};
use alloc::string::String;
use alloc::vec::Vec;

/// A graph, as its host describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// `Autodetect` for an encoding that wasi-nn has no word for.
    pub encoding: Encoding,
    /// The ML runtime that runs the graph, such as `onnxruntime`.
    pub runtime: String,
    /// The device that the graph runs on, such as `cpu`.
    pub device: String,
    /// The signature that the graph runs. Empty if the model has none with a name.
    pub signature: String,
    /// The names of all signatures of the model.
    pub signatures: Vec<String>,
    /// In the order of their indexes.
    pub inputs: Vec<TensorDescription>,
    /// In the order of their indexes. `None` if the model doesn't declare them.
    pub outputs: Option<Vec<TensorDescription>>,
    /// What the model says about itself. Empty if the host's operator doesn't allow it.
    pub metadata: Vec<(String, String)>,
}

/// An input or output, as its host describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorDescription {
    /// The name.
    pub name: String,
    /// The type of its elements.
    pub element_type: ElementType,
    /// `None` if even the number of dimensions is open.
    pub dims: Option<Vec<Dimension>>,
    /// Whether the input may be left out.
    pub optional: bool,
}

/// The type of a described tensor's elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ElementType {
    /// Numbers of this type.
    Number(Type),
    /// Byte strings.
    ByteString,
    /// Elements that wasi-nn has no type for, by the runtime's own name.
    Native(String),
    /// Numbers of any type.
    Any,
}

/// The size of a described dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// This size only.
    Fixed(u32),
    /// Any size, the same for all dimensions of this name in a compute.
    Named(String),
    /// Any size.
    Unknown,
}

/// The bytes of a graph's record, and of a tensor's within it.
#[cfg(any(feature = "component", target_env = "p2"))]
pub(crate) const GRAPH_SIZE: usize = 64;
const TENSOR_SIZE: usize = 36;

/// Reads a record that the host wrote: in a core module from one buffer, in a component from lists that are the guest's.
pub(crate) struct Reader {
    /// The type of a number of the ABI.
    pub type_of: fn(u32) -> Option<Type>,
    /// Gives back a list of so many bytes.
    pub free: unsafe fn(*const u8, usize),
}

impl Reader {
    unsafe fn u32(&self, at: *const u8, offset: usize) -> u32 {
        at.add(offset).cast::<u32>().read_unaligned()
    }

    /// The address and the number of bytes or items at an offset.
    unsafe fn place(&self, at: *const u8, offset: usize) -> (*const u8, usize) {
        (self.u32(at, offset) as usize as *const u8, self.u32(at, offset + 4) as usize)
    }

    /// The text at an offset.
    pub unsafe fn text(&self, at: *const u8, offset: usize) -> String {
        let (data, size) = self.place(at, offset);
        if size == 0 {
            return String::new();
        }
        let text = String::from_utf8_lossy(core::slice::from_raw_parts(data, size)).into_owned();
        (self.free)(data, size);
        text
    }

    unsafe fn list<T>(&self, at: *const u8, offset: usize, size: usize, item: impl Fn(*const u8) -> T) -> Vec<T> {
        let (data, count) = self.place(at, offset);
        let items = (0..count).map(|number| item(data.add(number * size))).collect();
        if count > 0 {
            (self.free)(data, count * size);
        }
        items
    }

    unsafe fn tensors(&self, at: *const u8, offset: usize) -> Vec<TensorDescription> {
        self.list(at, offset, TENSOR_SIZE, |it| self.tensor(it))
    }

    /// The record of a graph.
    pub unsafe fn graph(&self, at: *const u8) -> Description {
        Description {
            encoding: Encoding::from_wit(u32::from(*at)).unwrap_or(Encoding::Autodetect),
            runtime: self.text(at, 4),
            device: self.text(at, 12),
            signature: self.text(at, 20),
            signatures: self.list(at, 28, 8, |it| self.text(it, 0)),
            inputs: self.tensors(at, 36),
            outputs: if *at.add(44) == 0 { None } else { Some(self.tensors(at, 48)) },
            metadata: self.list(at, 56, 16, |it| (self.text(it, 0), self.text(it, 8))),
        }
    }

    /// The record of an input or output.
    pub unsafe fn tensor(&self, at: *const u8) -> TensorDescription {
        let dims = if *at.add(20) == 0 { None } else { Some(self.list(at, 24, 12, |it| self.dimension(it))) };
        TensorDescription {
            name: self.text(at, 0),
            element_type: self.element_type(at.add(8)),
            dims,
            optional: *at.add(32) != 0,
        }
    }

    unsafe fn element_type(&self, at: *const u8) -> ElementType {
        match *at {
            numbers::ELEMENT_NUMBER => match (self.type_of)(u32::from(*at.add(4))) {
                Some(ty) => ElementType::Number(ty),
                None => ElementType::Any,
            },
            numbers::ELEMENT_BYTE_STRING => ElementType::ByteString,
            numbers::ELEMENT_NATIVE => ElementType::Native(self.text(at, 4)),
            _ => ElementType::Any,
        }
    }

    unsafe fn dimension(&self, at: *const u8) -> Dimension {
        match *at {
            numbers::DIMENSION_FIXED => Dimension::Fixed(self.u32(at, 4)),
            numbers::DIMENSION_NAMED => Dimension::Named(self.text(at, 4)),
            _ => Dimension::Unknown,
        }
    }
}

use crate::error::{Error, Result};
use crate::numbers::{Code, Type};
use alloc::vec::Vec;

/// The bits of a number of 16 bits, IEEE 754's binary16.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct F16(pub u16);

/// The bits of a bfloat16: the upper half of an `f32`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Bf16(pub u16);

impl From<f32> for Bf16 {
    /// The nearest bfloat16, half to even. A NaN stays one.
    fn from(number: f32) -> Bf16 {
        let bits = number.to_bits();
        if number.is_nan() {
            return Bf16((bits >> 16) as u16 | 0x40);
        }
        Bf16(((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16)
    }
}

impl From<Bf16> for f32 {
    fn from(number: Bf16) -> f32 {
        f32::from_bits(u32::from(number.0) << 16)
    }
}

/// A type of Rust that is the type of a tensor's elements.
///
/// # Safety
///
/// `TYPE.size()` is the type's size, and any bytes are a value of it.
pub unsafe trait Element: Copy + Default + 'static {
    /// The type of the tensor.
    const TYPE: Type;
}

macro_rules! elements {
    ($($rust:ty => $type:ident,)*) => {
        $(
            // Sound: these are plain numbers.
            unsafe impl Element for $rust {
                const TYPE: Type = Type::$type;
            }
        )*
    };
}

elements! {
    F16 => F16,
    Bf16 => Bf16,
    f32 => F32,
    f64 => F64,
    u8 => U8,
    i32 => I32,
    i64 => I64,
}

/// The bytes of an array.
pub(crate) fn bytes_of<E: Element>(elements: &[E]) -> &[u8] {
    // Sound: an element has no padding, and a byte no alignment.
    unsafe { core::slice::from_raw_parts(elements.as_ptr().cast(), core::mem::size_of_val(elements)) }
}

/// The bytes of an array that is written to.
pub(crate) fn bytes_of_mut<E: Element>(elements: &mut [E]) -> &mut [u8] {
    // Sound: as above, and any bytes are an element.
    unsafe { core::slice::from_raw_parts_mut(elements.as_mut_ptr().cast(), core::mem::size_of_val(elements)) }
}

/// A tensor that is passed to a graph: an array of the caller's, with dims. Elements are in row-major order.
#[derive(Clone, Copy, Debug)]
pub struct Tensor<'a> {
    pub(crate) dims: &'a [u32],
    pub(crate) ty: Type,
    pub(crate) data: &'a [u8],
}

impl<'a> Tensor<'a> {
    /// An array with these dims. Fails with `invalid-argument` unless the dims multiply out to its length.
    pub fn new<E: Element>(dims: &'a [u32], elements: &'a [E]) -> Result<Tensor<'a>> {
        Tensor::of_bytes(dims, E::TYPE, bytes_of(elements))
    }

    /// The bytes of elements, little-endian. Fails as `new` does.
    pub fn of_bytes(dims: &'a [u32], ty: Type, data: &'a [u8]) -> Result<Tensor<'a>> {
        let count = dims.iter().try_fold(ty.size() as u64, |count, dim| count.checked_mul(u64::from(*dim)));
        if count != Some(data.len() as u64) {
            let message = alloc::format!("{} elements don't fit the dims {:?}", data.len() / ty.size(), dims);
            return Err(Error::new(Code::InvalidArgument, message));
        }
        Ok(Tensor { dims, ty, data })
    }
}

/// A tensor that a graph gave, with its type and dims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedTensor {
    pub(crate) dims: Vec<u32>,
    pub(crate) ty: Type,
    pub(crate) data: Vec<u8>,
}

impl OwnedTensor {
    /// The dims. A scalar has the dims `[1]` or none.
    pub fn dims(&self) -> &[u32] {
        &self.dims
    }

    /// The type of the elements.
    pub fn ty(&self) -> Type {
        self.ty
    }

    /// The elements as bytes, little-endian, in row-major order.
    pub fn bytes(&self) -> &[u8] {
        &self.data
    }

    /// The elements. Fails with `invalid-argument` if they are of another type.
    pub fn to_vec<E: Element>(&self) -> Result<Vec<E>> {
        if E::TYPE != self.ty {
            let message = alloc::format!("the tensor is of {}, not of {}", self.ty.name(), E::TYPE.name());
            return Err(Error::new(Code::InvalidArgument, message));
        }
        elements_of(&self.data)
    }

    /// The tensor as one that can be passed to a graph.
    pub fn view(&self) -> Tensor<'_> {
        Tensor { dims: &self.dims, ty: self.ty, data: &self.data }
    }
}

/// An array of elements from bytes. Fails with `invalid-argument` if they aren't whole elements.
pub(crate) fn elements_of<E: Element>(bytes: &[u8]) -> Result<Vec<E>> {
    let mut elements = alloc::vec![E::default(); whole::<E>(bytes.len())?];
    bytes_of_mut(&mut elements).copy_from_slice(bytes);
    Ok(elements)
}

/// The number of elements in so many bytes. Fails as `elements_of` does.
pub(crate) fn whole<E: Element>(size: usize) -> Result<usize> {
    if size % E::TYPE.size() != 0 {
        let message = alloc::format!("{} bytes aren't whole elements of {}", size, E::TYPE.name());
        return Err(Error::new(Code::InvalidArgument, message));
    }
    Ok(size / E::TYPE.size())
}

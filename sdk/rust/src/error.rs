use crate::numbers::Code;
use alloc::string::String;
use core::fmt;

/// A call that failed: a code of wasi-nn and a message.
///
/// In a component the message is the host's own line. In a core module it names the function and says what the code
/// means; the host's log has the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    code: Code,
    message: String,
    needed: usize,
}

/// A result with an [`Error`].
pub type Result<T> = core::result::Result<T, Error>;

impl Error {
    /// An error of your own.
    pub fn new(code: Code, message: impl Into<String>) -> Error {
        Error { code, message: message.into(), needed: 0 }
    }

    pub(crate) fn too_small(what: &str, needed: usize, room: usize) -> Error {
        let message = alloc::format!("{} has {} bytes, the buffer only {}", what, needed, room);
        Error { code: Code::TooLarge, message, needed }
    }

    /// The reason as a code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The reason in words.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Of a buffer that is too small: the bytes that it needs. 0 for any other error, and in a core module where the host
    /// doesn't tell it.
    pub fn needed(&self) -> usize {
        self.needed
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.message)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(feature = "std")]
impl std::error::Error for Error {}

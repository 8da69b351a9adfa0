//! Ends the decoding of a frame that is no longer needed or takes too long. The caller decides when, because this crate has no clock.

use std::fmt;

use crate::CodecError;

/// A function of the caller that returns whether decoding must end.
#[derive(Clone, Copy)]
pub struct Cancellation<'a>(&'a dyn Fn() -> bool);

impl fmt::Debug for Cancellation<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Cancellation")
    }
}

impl<'a> Cancellation<'a> {
    /// Creates a cancellation that takes effect as soon as `is_canceled` returns true. It is called often, so it must be fast.
    pub fn new(is_canceled: &'a dyn Fn() -> bool) -> Self {
        Self(is_canceled)
    }

    /// Creates a cancellation that never takes effect.
    pub fn never() -> Self {
        Self(&|| false)
    }

    /// Returns [`CodecError::Canceled`] if decoding must end.
    pub fn check(self) -> Result<(), CodecError> {
        if (self.0)() { Err(CodecError::Canceled) } else { Ok(()) }
    }
}

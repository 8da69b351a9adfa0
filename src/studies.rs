//! The heart: from criteria to studies.

mod error;

pub use error::StudiesError;

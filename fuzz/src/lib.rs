//! What must hold for input that others write, whatever it is: one module and one `check` for each subject.
//!
//! A `check` panics when its invariant is violated. The programs in `fuzz_targets/` hand it the inputs that libFuzzer makes; each
//! input is the plain text or file that the subject reads, so that a seed is an ordinary document of that kind.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod accept;
pub mod chunks;
pub mod cursor;
pub mod fhir_query;
pub mod forwarded;
pub mod frame;
pub mod jpeg_extended;
pub mod jpeg_ls;
pub mod json_rows;
pub mod memory;
pub mod multipart;
pub mod part10;
pub mod rle;
pub mod url_rewrite;

//! Invariants of the readers of untrusted input: one module with one function `check` for each subject.
//!
//! A `check` panics if its invariant is violated. The programs in `fuzz_targets/` pass it the inputs that libFuzzer generates. Each
//! input is the text or file that the subject reads, so any document of that kind can be a seed.

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

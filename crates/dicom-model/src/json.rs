//! The DICOM JSON Model (PS3.18 Annex F): readers of response bodies, and a strict writer.

pub mod attribute_texts;
pub mod complete;
pub mod reader;
mod unreadable_values;
pub mod writer;

pub(crate) use unreadable_values::parse_with;
pub use unreadable_values::{parse, parse_bytes, replace_unreadable};

//! The DICOM JSON Model (PS3.18 Annex F): readers of response bodies, and a strict writer.

pub mod complete;
pub mod first_values;
pub mod reader;
pub mod writer;

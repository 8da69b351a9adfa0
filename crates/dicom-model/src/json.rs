//! The DICOM JSON Model (PS3.18 Annex F): a reader of response bodies, and a strict writer.

pub mod reader;
pub mod writer;

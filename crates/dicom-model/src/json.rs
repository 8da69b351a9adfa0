//! The DICOM JSON Model (PS3.18 Annex F): a tolerant reader of responses, and a strict writer.

pub mod reader;
pub mod writer;

//! DICOM JSON (PS3.18 F): read tolerantly as archives write it, and written as the standard has it.

pub mod reader;
pub mod writer;

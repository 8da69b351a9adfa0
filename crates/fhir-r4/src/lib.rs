//! The parts of FHIR R4 (4.0.1) that the gateway uses: the search grammar, dates, and the resource types that it writes. This crate
//! consists of pure functions, and does not know about async code, sockets, the clock or DICOM.

pub mod date;
pub mod id;
pub mod json;
pub mod search;
pub mod types;
pub mod xml;

//! FHIR R4 (4.0.1) as far as it is spoken here: the grammar of search, dates, and the resources that are emitted. Pure: no
//! async, no sockets, no clock, and no DICOM.

pub mod date;
pub mod id;
pub mod json;
pub mod search;
pub mod types;
pub mod xml;

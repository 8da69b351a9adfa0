//! What RFC 9110 and its neighbours ask of anybody who speaks HTTP: bodies, multipart, gzip, query strings, content negotiation,
//! conditional requests, pages of other origins, the address under which the gateway is known. Nothing here knows FHIR or DICOM.

pub mod bounded;
pub mod compression;
pub mod conditional;
pub mod cors;
pub mod cursor;
pub mod forwarded;
pub mod negotiation;
pub mod network;
pub mod query;

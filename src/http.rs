//! HTTP (RFC 9110 and related standards), independent of FHIR and DICOM: bounded bodies, compression, query strings, content
//! negotiation, preferences, conditional requests, CORS, the public base URL, sealed values of links.

pub mod accepted_hosts;
pub mod bounded;
pub mod conditional;
pub mod cors;
pub mod forwarded;
pub mod negotiation;
pub mod network;
pub mod preference;
pub mod query;
pub mod sealing;
pub mod streaming_compression;

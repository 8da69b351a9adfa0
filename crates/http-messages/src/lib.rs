//! The parts of HTTP messages that servers and clients share: bodies, hosts, gzip, media ranges (RFC 9110 12.5.1), escapes in paths
//! (RFC 3986 2.3) and multipart (RFC 2046 5.1). This crate does not know about FHIR, DICOM or the gateway.

pub mod body;
pub mod gzip;
pub mod host;
pub mod media_range;
pub mod multipart;
pub mod observed_body;
pub mod path;

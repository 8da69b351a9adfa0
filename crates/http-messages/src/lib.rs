//! The parts of HTTP messages that servers and clients share: bodies, hosts, gzip, and multipart (RFC 2046 5.1). Nothing here knows FHIR,
//! DICOM or the gateway.

pub mod body;
pub mod gzip;
pub mod host;
pub mod media_range;
pub mod multipart;

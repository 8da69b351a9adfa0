//! Forwards an archive's response to the client (PS3.18 8.4 to 8.7): status, allowed headers, and a body that streams.
//!
//! [`response`] decides by status and Content-Type which filters a body passes; [`stream`] runs them, chunk by chunk, and fails the client's
//! transfer when the archive's fails. Opaque bodies pass unchanged. Nothing here knows which resource is asked for, or FHIR.

pub(crate) mod filtered_body;
pub(crate) mod first_rows;
pub(crate) mod json_completeness;
pub(crate) mod response;
pub(crate) mod stream;
pub(crate) mod xml_parts;

//! Forwards an archive's response to the client (PS3.18 8.4 to 8.7): status, allowed headers, and a body that streams.
//!
//! [`request`] is the request to an archive, [`attempts`] sends it, [`response`] decides by status and Content-Type which
//! filters the body passes, [`stream`] runs them chunk by chunk and aborts the client's transfer when the archive's fails.
//! Opaque bodies pass unchanged. [`read_first_rows`] reads the rows of a search for lists that are assembled here. Does not know
//! FHIR.

pub(crate) mod assembled;
pub(crate) mod attempts;
pub(crate) mod content_completeness;
pub(crate) mod empty_modalities;
pub(crate) mod filtered_body;
pub(crate) mod first_rows;
pub(crate) mod image_completeness;
pub(crate) mod json_completeness;
pub(crate) mod primed_body;
pub(crate) mod read_ahead;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod response_headers;
pub(crate) mod stream;
pub(crate) mod stream_error;
pub(crate) mod xml_completeness;
pub(crate) mod xml_parts;

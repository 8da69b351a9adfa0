//! Forwards the response of an archive to the client (PS3.18 8.4 to 8.7): the status, allowed headers, and the body, which is
//! streamed.
//!
//! [`request`] is the request to an archive, [`attempts`] sends it, and [`response`] selects the filters for the body by status
//! and Content-Type. [`stream`] passes each chunk through the filters, and aborts the transfer to the client if the transfer from
//! the archive fails. Opaque bodies are forwarded unchanged. [`first_rows`] reads the rows of a search for lists that the gateway
//! assembles. The module does not depend on FHIR.

pub(crate) mod assembled;
pub(crate) mod attempts;
pub(crate) mod content_completeness;
pub(crate) mod empty_modalities;
pub(crate) mod filtered_body;
pub(crate) mod first_rows;
pub(crate) mod image_completeness;
pub(crate) mod json_completeness;
pub(crate) mod prefetched_body;
pub(crate) mod read_ahead;
pub(crate) mod request;
pub(crate) mod requested_objects;
pub(crate) mod requested_rows;
pub(crate) mod response;
pub(crate) mod response_headers;
pub(crate) mod row_uids;
pub(crate) mod stream;
pub(crate) mod stream_error;
pub(crate) mod xml_completeness;
pub(crate) mod xml_parts;

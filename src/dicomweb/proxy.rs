//! Forwards an archive's response: status, allowed headers, body pipeline.

pub(crate) mod filtered_body;
pub(crate) mod first_rows;
pub(crate) mod json_completeness;
pub(crate) mod response;
pub(crate) mod stream;
pub(crate) mod xml_parts;

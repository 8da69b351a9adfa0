//! Replaces an archive's URLs by the gateway's.

pub(crate) mod part_headers;
pub(crate) mod text;
pub(crate) mod url_map;

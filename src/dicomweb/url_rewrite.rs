//! Replaces an archive's URLs with the gateway's, so that no response names an upstream host.
//!
//! [`url_map`] decides how one URL is rewritten; [`text`] finds the URLs in JSON, XML and plain text while it streams, written as
//! [`syntax`] says; [`part_headers`] finds those in the headers of multipart bodies. The result is the same for every chunking.

mod output;
pub(crate) mod part_headers;
pub(crate) mod syntax;
pub(crate) mod text;
pub(crate) mod url_map;

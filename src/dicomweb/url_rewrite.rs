//! Replaces the URLs of an archive with URLs of the gateway, so that no response contains an upstream host.
//!
//! [`url_map`] rewrites one URL, whose query [`query_seal`] seals. [`text`] finds the URLs in JSON, XML and other text while it
//! streams, according to its [`syntax`]. [`part_headers`] finds the URLs in the headers of multipart bodies. The result does not
//! depend on the chunks.

mod output;
pub(crate) mod part_headers;
pub(crate) mod query_seal;
pub(crate) mod syntax;
pub(crate) mod text;
pub(crate) mod url_map;

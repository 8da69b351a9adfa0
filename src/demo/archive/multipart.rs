//! multipart/related (RFC 2387, PS3.18 8.6.1.2.1): parts one after the other, each streamed from its file.

use super::body::Chunks;
use bytes::Bytes;
use std::iter::once;

/// One part: its media type, and its bytes.
pub(super) struct Part {
    /// With parameters, as the part's header field says it.
    pub(super) content_type: String,
    /// What it holds.
    pub(super) chunks: Chunks,
}

/// The body: every part behind its delimiter, and the closing delimiter.
pub(super) fn body(boundary: &str, parts: impl Iterator<Item = Part> + Send + 'static) -> Chunks {
    let closing = format!("--{boundary}--\r\n");
    let delimiter = format!("--{boundary}\r\n");
    let parts = parts.flat_map(move |part| {
        let header = format!("{delimiter}Content-Type: {}\r\n\r\n", part.content_type);
        once(Ok(Bytes::from(header))).chain(part.chunks).chain(once(Ok(Bytes::from_static(b"\r\n"))))
    });
    Box::new(parts.chain(once(Ok(Bytes::from(closing)))))
}

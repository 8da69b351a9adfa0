//! Writes multipart/related bodies (RFC 2387, PS3.18 8.6.1.2.1) as streams of chunks: each part is produced when the previous
//! one has been sent. This module does not know which media types the parts have.

use super::body::Chunks;
use http_messages::multipart::writer::PartWriter;

/// A part of a body.
pub(super) struct Part {
    /// Content-Type of the part, with parameters.
    pub(super) content_type: String,
    /// Content of the part.
    pub(super) chunks: Chunks,
}

/// Returns the chunks of a body: each part after its delimiter, and then the closing delimiter.
pub(super) fn body(writer: PartWriter, mut parts: impl Iterator<Item = Part> + Send + 'static) -> Chunks {
    let (mut writer, mut current_chunks) = (Some(writer), None::<Chunks>);
    Box::new(std::iter::from_fn(move || {
        if let Some(chunk) = current_chunks.as_mut().and_then(Iterator::next) {
            return Some(chunk);
        }
        let Some(Part { content_type, chunks }) = parts.next() else {
            return writer.take().map(|writer| Ok(writer.end().into()));
        };
        current_chunks = Some(chunks);
        writer.as_mut().map(|writer| Ok(writer.begin_part(&content_type, None).into()))
    }))
}

//! multipart/related (RFC 2387, PS3.18 8.6.1.2.1): parts one after the other, each streamed from its file.

use super::body::Chunks;
use http_messages::multipart::writer::PartWriter;

/// One part: its media type, and its bytes.
pub(super) struct Part {
    /// With parameters, as the part's header field says it.
    pub(super) content_type: String,
    /// What it holds.
    pub(super) chunks: Chunks,
}

/// The body: every part behind its delimiter, and the closing delimiter.
pub(super) fn body(writer: PartWriter, mut parts: impl Iterator<Item = Part> + Send + 'static) -> Chunks {
    let (mut writer, mut part) = (Some(writer), None::<Chunks>);
    Box::new(std::iter::from_fn(move || {
        if let Some(chunk) = part.as_mut().and_then(Iterator::next) {
            return Some(chunk);
        }
        let Some(Part { content_type, chunks }) = parts.next() else {
            return writer.take().map(|writer| Ok(writer.end().into()));
        };
        part = Some(chunks);
        writer.as_mut().map(|writer| Ok(writer.begin_part(&content_type, None).into()))
    }))
}

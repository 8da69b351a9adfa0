//! Rewrites URLs in DICOM JSON (PS3.18 Annex F) and Native DICOM XML (PS3.19 A.1) while they stream.
//!
//! [`json`] and [`xml`] find the values that are URLs, and, by their start `http`, absolute URLs in any text. All other bytes are
//! unchanged. The result does not depend on the chunks: an incomplete token of at most 8 KiB is retained, and parsed again with
//! the next chunk.

mod json;
mod replacer;
mod xml;

use bytes::{Bytes, BytesMut};

use super::output::Output;
use super::syntax::Syntax;
use super::url_map::UrlMap;
use json::JsonReader;
pub use replacer::RewriteError;
use replacer::{RewriteStep, UrlReplacer};
use xml::XmlReader;

/// Number of bytes of a chunk that are copied first to complete a retained token: enough for a typical URL.
const TOKEN_COMPLETION_LEN: usize = 512;

/// Replaces the URLs of an archive in a text that arrives in chunks.
#[derive(Debug)]
pub struct Rewriter {
    urls: UrlReplacer,
    reader: UrlReader,
    /// The incomplete token at the end of the previous chunks.
    retained: Vec<u8>,
}

/// Finds URLs in a text.
#[derive(Debug)]
enum UrlReader {
    Json(Box<JsonReader>),
    Xml(Box<XmlReader>),
}

impl Rewriter {
    /// Creates a rewriter for a text.
    pub fn new(url_map: UrlMap, syntax: Syntax) -> Self {
        let reader = match syntax {
            Syntax::Json => UrlReader::Json(Box::new(JsonReader::new())),
            Syntax::Xml => UrlReader::Xml(Box::new(XmlReader::new())),
        };
        Self { urls: UrlReplacer::new(url_map, syntax), reader, retained: Vec::new() }
    }

    /// Rewrites the next chunk, and returns the output so far. A chunk without URLs is returned without a copy.
    pub fn push(&mut self, chunk: &Bytes) -> Result<Bytes, RewriteError> {
        let mut written = BytesMut::new();
        let mut joined_length = TOKEN_COMPLETION_LEN;
        // The retained bytes are joined with the start of the chunk, to complete the token. The rest of the chunk is not copied.
        while !self.retained.is_empty() {
            let retained = std::mem::take(&mut self.retained);
            let length = joined_length.min(chunk.len());
            let text = Bytes::from([&retained, chunk.get(..length).unwrap_or_default()].concat());
            let (output, end) = self.scan_chunk(&text, written, false)?;
            written = output.write(end);
            if let Some(chunk_position) = end.checked_sub(retained.len()) {
                return self.rewrite_rest(&chunk.slice(chunk_position..), written);
            }
            if length == chunk.len() {
                self.retained.extend_from_slice(text.get(end..).unwrap_or_default());
                return Ok(written.freeze());
            }
            self.retained.extend_from_slice(retained.get(end..).unwrap_or_default());
            joined_length *= 4;
        }
        self.rewrite_rest(chunk, written)
    }

    /// Returns the rest of the output at the end of the text.
    pub fn finish(&mut self) -> Result<Bytes, RewriteError> {
        let rest = Bytes::from(std::mem::take(&mut self.retained));
        let (output, end) = self.scan_chunk(&rest, BytesMut::new(), true)?;
        if end < rest.len() { Err(RewriteError::Incomplete) } else { Ok(output.take(end)) }
    }

    /// Rewrites the rest of a chunk; `written` is the output before it.
    fn rewrite_rest(&mut self, chunk: &Bytes, written: BytesMut) -> Result<Bytes, RewriteError> {
        let (output, end) = self.scan_chunk(chunk, written, false)?;
        self.retained.extend_from_slice(chunk.get(end..).unwrap_or_default());
        Ok(output.take(end))
    }

    /// Scans `chunk`; returns its output, and the position up to which it was scanned.
    fn scan_chunk<'a>(
        &mut self,
        chunk: &'a Bytes,
        written: BytesMut,
        is_end: bool,
    ) -> Result<(Output<'a>, usize), RewriteError> {
        let mut output = Output { chunk, written, position: 0 };
        let mut next: [Option<usize>; 3] = [Some(0); 3];
        let mut position = 0;
        let end = loop {
            let urls = &mut self.urls;
            let step = match &mut self.reader {
                UrlReader::Json(reader) => reader.step(urls, &mut output, position, is_end, &mut next)?,
                UrlReader::Xml(reader) => reader.step(urls, &mut output, position, is_end, &mut next[0])?,
            };
            match step {
                RewriteStep::ContinueAt(next) => position = next,
                RewriteStep::RetainFrom(start) => break start,
                RewriteStep::Done => break chunk.len(),
            }
        };
        if let UrlReader::Json(reader) = &mut self.reader
            && let Some(byte) = end.checked_sub(1).and_then(|index| chunk.get(index))
        {
            reader.previous_byte = *byte;
        }
        Ok((output, end))
    }
}

#[cfg(test)]
mod tests;

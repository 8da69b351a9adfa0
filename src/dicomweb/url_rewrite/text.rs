//! Rewrites URLs in DICOM JSON (PS3.18 Annex F) and Native DICOM XML (PS3.19 A.1) while they stream.
//!
//! URLs are searched where [`json`] and [`xml`] find them, and after `http` anywhere. Everything else is unchanged, byte for byte,
//! and the result is the same for every chunking: a token that is cut off is held back, at most 8 KiB, and read again
//! with the next chunk.

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

/// Bytes of a chunk that are first copied to complete a token that was held back: enough for a typical URL.
const JOINED_LEN: usize = 512;

/// Replaces the archive's URLs in a text that arrives in chunks.
#[derive(Debug)]
pub struct Rewriter {
    urls: UrlReplacer,
    reader: UrlReader,
    /// The bytes of earlier chunks that were held back.
    held: Vec<u8>,
}

/// Finds URLs in a text.
#[derive(Debug)]
enum UrlReader {
    Json(Box<JsonReader>),
    Xml(Box<XmlReader>),
}

impl Rewriter {
    /// A rewriter at the start of a text.
    pub fn new(url_map: UrlMap, syntax: Syntax) -> Self {
        let reader = match syntax {
            Syntax::Json => UrlReader::Json(Box::new(JsonReader::new())),
            Syntax::Xml => UrlReader::Xml(Box::new(XmlReader::new())),
        };
        Self { urls: UrlReplacer::new(url_map, syntax), reader, held: Vec::new() }
    }

    /// Reads the next chunk and returns the output so far. A chunk without URLs is returned without a copy.
    pub fn push(&mut self, chunk: &Bytes) -> Result<Bytes, RewriteError> {
        let mut written = BytesMut::new();
        let mut joined = JOINED_LEN;
        // The bytes that were held back are joined with enough of the chunk to complete the token; the rest of the chunk is not
        // copied.
        while !self.held.is_empty() {
            let held = std::mem::take(&mut self.held);
            let length = joined.min(chunk.len());
            let text = Bytes::from([&held, chunk.get(..length).unwrap_or_default()].concat());
            let (output, end) = self.run(&text, written, false)?;
            written = output.write(end);
            if let Some(read) = end.checked_sub(held.len()) {
                return self.rest(&chunk.slice(read..), written);
            }
            if length == chunk.len() {
                self.held.extend_from_slice(text.get(end..).unwrap_or_default());
                return Ok(written.freeze());
            }
            self.held.extend_from_slice(held.get(end..).unwrap_or_default());
            joined *= 4;
        }
        self.rest(chunk, written)
    }

    /// Returns the rest of the output at the end of the text.
    pub fn finish(&mut self) -> Result<Bytes, RewriteError> {
        let rest = Bytes::from(std::mem::take(&mut self.held));
        let (output, end) = self.run(&rest, BytesMut::new(), true)?;
        if end < rest.len() { Err(RewriteError::Incomplete) } else { Ok(output.take(end)) }
    }

    /// Reads the rest of a chunk; `written` is the output before it.
    fn rest(&mut self, chunk: &Bytes, written: BytesMut) -> Result<Bytes, RewriteError> {
        let (output, end) = self.run(chunk, written, false)?;
        self.held.extend_from_slice(chunk.get(end..).unwrap_or_default());
        Ok(output.take(end))
    }

    /// Scans `chunk`; returns its output, and the position up to which it was scanned.
    fn run<'a>(
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
                RewriteStep::To(next) => position = next,
                RewriteStep::HoldFrom(start) => break start,
                RewriteStep::Done => break chunk.len(),
            }
        };
        if let UrlReader::Json(reader) = &mut self.reader
            && let Some(byte) = end.checked_sub(1).and_then(|at| chunk.get(at))
        {
            reader.before = *byte;
        }
        Ok((output, end))
    }
}

#[cfg(test)]
mod tests;

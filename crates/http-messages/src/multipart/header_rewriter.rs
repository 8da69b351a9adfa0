//! Rewrites the headers of parts while a multipart body is forwarded (RFC 2046 5.1). The content of parts is forwarded unchanged;
//! what precedes the first delimiter or follows the last one belongs to no part and is dropped. A body that ends without its last
//! delimiter, or has too many parts, is an error. This module does not know what the headers mean.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::delimiter::{Continuation, Delimiter};
use super::{MAX_BOUNDARY, MAX_HEADERS, MultipartError, headers_length};

/// Rewrites the headers of parts.
pub trait RewriteHeaders {
    /// Returns the replacement for `headers`, lines including the empty line after them; `None` if they do not change.
    fn rewrite(&self, headers: &[u8]) -> Option<Vec<u8>>;
}

/// Rewrites the headers of parts in a multipart body that arrives in chunks.
#[derive(Debug)]
pub struct HeaderRewriter<R> {
    headers: R,
    boundary: Boundary,
    buffered: Vec<u8>,
    is_at_line_start: bool,
    /// Number of bytes of the current part that need not be searched, because its headers declare its length.
    skippable_byte_count: u64,
    progress: Progress,
    may_lack_last_delimiter: bool,
    /// Maximum number of parts.
    max_parts: Option<usize>,
    part_count: usize,
    /// Whether the body must have the length of the original body.
    preserves_length: bool,
}

/// The progress of reading a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Before the first part.
    BeforeParts,
    /// Inside a part, or after it.
    InParts,
    /// The last delimiter was read.
    Closed,
    /// The last delimiter was read before the first part.
    ClosedWithoutParts,
}

impl<R: RewriteHeaders> HeaderRewriter<R> {
    /// Creates a rewriter for a body whose Content-Type declares `boundary`. If it declares none, the boundary is read from the first
    /// line of the body that begins like a delimiter. With `may_lack_last_delimiter`, the last delimiter is added if the body lacks it.
    pub fn new(headers: R, boundary: Option<&str>, may_lack_last_delimiter: bool) -> Self {
        Self {
            headers,
            boundary: boundary.map_or(Boundary::NotYetKnown, Boundary::known),
            buffered: Vec::new(),
            is_at_line_start: true,
            skippable_byte_count: 0,
            progress: Progress::BeforeParts,
            may_lack_last_delimiter,
            max_parts: None,
            part_count: 0,
            preserves_length: false,
        }
    }

    /// Limits the number of parts: more parts are an error.
    #[must_use]
    pub fn with_max_parts(self, max_parts: Option<usize>) -> Self {
        Self { max_parts, ..self }
    }

    /// Preserves the length of the body: what follows the last delimiter is replaced by spaces. The body must begin with a delimiter,
    /// and the rewriter of headers must preserve their length.
    pub fn preserve_length(&mut self) {
        self.preserves_length = true;
    }

    /// Returns the rewriter of headers.
    pub fn headers_mut(&mut self) -> &mut R {
        &mut self.headers
    }

    /// Returns the boundary; `None` if it has not been read yet.
    pub fn boundary(&self) -> Option<&str> {
        match &self.boundary {
            Boundary::Known(delimiter) => std::str::from_utf8(delimiter.text().strip_prefix(b"--")?).ok(),
            Boundary::NotYetKnown => None,
        }
    }

    /// Reads the next chunk of the body and returns the bytes that can be sent.
    pub fn push(&mut self, chunk: Bytes) -> Result<Bytes, MultipartError> {
        let chunk = if self.buffered.is_empty() {
            chunk
        } else {
            let mut joined = BytesMut::with_capacity(self.buffered.len() + chunk.len());
            joined.extend_from_slice(&self.buffered);
            joined.extend_from_slice(&chunk);
            self.buffered.clear();
            joined.freeze()
        };
        if matches!(self.boundary, Boundary::NotYetKnown) {
            let Some(boundary) = Boundary::from_beginning(&chunk)? else {
                self.buffered = chunk.to_vec();
                return Ok(Bytes::new());
            };
            self.boundary = boundary;
        }
        match &self.boundary {
            Boundary::Known(delimiter) => {
                let delimiter = Arc::clone(delimiter);
                self.rewrite_chunk(&chunk, &delimiter)
            }
            Boundary::NotYetKnown => Ok(chunk),
        }
    }

    /// Ends the body and returns the buffered bytes.
    pub fn finish(&mut self) -> Result<Bytes, MultipartError> {
        let Boundary::Known(delimiter) = &self.boundary else {
            let is_empty = self.buffered.trim_ascii().is_empty();
            return Err(if is_empty { MultipartError::NoParts } else { MultipartError::NoBoundary });
        };
        let last = [delimiter.text(), b"--"].concat();
        let buffered = std::mem::take(&mut self.buffered);
        if self.progress == Progress::Closed {
            return Ok(Bytes::new());
        }
        if self.progress == Progress::InParts && buffered == last && self.is_at_line_start {
            return Ok(self.close(last).into());
        }
        let is_empty = buffered.is_empty() || buffered == last;
        if self.progress == Progress::ClosedWithoutParts
            || self.progress == Progress::BeforeParts && is_empty && self.is_at_line_start
        {
            return Err(MultipartError::NoParts);
        }
        let is_in_headers = buffered.starts_with(delimiter.text()) && !last.starts_with(&buffered);
        if !self.may_lack_last_delimiter
            || self.progress == Progress::BeforeParts
            || self.skippable_byte_count > 0
            || is_in_headers
        {
            return Err(MultipartError::Incomplete);
        }
        // The body ends inside its last delimiter, or before it.
        if self.is_at_line_start && !buffered.is_empty() && last.starts_with(&buffered) {
            return Ok([&last, &b"\r\n"[..]].concat().into());
        }
        Ok([&buffered, &b"\r\n"[..], &last, b"\r\n"].concat().into())
    }

    /// Completes `last`, the last delimiter.
    fn close(&mut self, mut last: Vec<u8>) -> Vec<u8> {
        self.progress = Progress::Closed;
        if !self.preserves_length {
            last.extend_from_slice(b"\r\n");
        }
        last
    }

    /// Returns what replaces `bytes` after the last delimiter.
    fn epilogue(&self, bytes: &[u8]) -> Vec<u8> {
        if !self.preserves_length {
            return Vec::new();
        }
        bytes.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { *byte } else { b' ' }).collect()
    }

    fn rewrite_chunk(&mut self, chunk: &Bytes, delimiter: &Delimiter) -> Result<Bytes, MultipartError> {
        match self.progress {
            Progress::Closed => return Ok(self.epilogue(chunk).into()),
            Progress::ClosedWithoutParts => return Ok(Bytes::new()),
            Progress::BeforeParts | Progress::InParts => {}
        }
        let mut written = BytesMut::new();
        // The offsets in `chunk` of the first byte that is not written, and of the first byte that is not searched.
        let (mut copied, mut position) = (0, 0);
        let end = loop {
            let skipped =
                usize::try_from(self.skippable_byte_count).unwrap_or(usize::MAX).min(chunk.len() - position);
            self.skippable_byte_count -= skipped as u64;
            position += skipped;
            let rest = chunk.get(position..).unwrap_or_default();
            let Some(found) = delimiter.find(rest) else {
                break chunk.len() - delimiter.partial_len(rest);
            };
            let start = position + found;
            let is_at_line_start = match start.checked_sub(1) {
                Some(before) => chunk.get(before) == Some(&b'\n'),
                None => self.is_at_line_start,
            };
            let after = start + delimiter.text().len();
            let rest = chunk.get(after..).unwrap_or_default();
            match Continuation::parse(rest) {
                _ if !is_at_line_start => position = start + 1,
                Continuation::Data => position = start + 1,
                Continuation::Last if self.progress == Progress::BeforeParts => {
                    self.progress = Progress::ClosedWithoutParts;
                    return Ok(Bytes::new());
                }
                Continuation::Last => {
                    let last = chunk.get(start..after + 2).unwrap_or_default().to_vec();
                    written.extend_from_slice(chunk.get(copied..start).unwrap_or_default());
                    written.extend_from_slice(&self.close(last));
                    written.extend_from_slice(&self.epilogue(chunk.get(after + 2..).unwrap_or_default()));
                    return Ok(written.freeze());
                }
                Continuation::Incomplete => break start,
                Continuation::Headers(line_length) => {
                    let headers = rest.get(line_length..).unwrap_or_default();
                    let Some(length) = headers_length(headers) else {
                        if headers.len() > MAX_HEADERS {
                            return Err(MultipartError::HeadersTooLong);
                        }
                        break start;
                    };
                    let headers = headers.get(..length).unwrap_or_default();
                    self.part_count += 1;
                    if self.max_parts.is_some_and(|max| self.part_count > max) {
                        return Err(MultipartError::SeveralParts);
                    }
                    if self.progress == Progress::BeforeParts {
                        copied = start;
                        self.progress = Progress::InParts;
                    }
                    if let Some(rewritten) = self.headers.rewrite(headers) {
                        written.reserve(chunk.len() - copied + rewritten.len());
                        written.extend_from_slice(chunk.get(copied..after + line_length).unwrap_or_default());
                        written.extend_from_slice(&rewritten);
                        copied = after + line_length + length;
                    }
                    position = after + line_length + length;
                    self.skippable_byte_count = content_length(headers).unwrap_or(0);
                }
            }
        };
        self.buffered = chunk.get(end..).unwrap_or_default().to_vec();
        if let Some(last) = end.checked_sub(1).and_then(|index| chunk.get(index)) {
            self.is_at_line_start = *last == b'\n';
        }
        if self.progress == Progress::BeforeParts {
            copied = end;
        }
        if written.is_empty() {
            return Ok(chunk.slice(copied..end));
        }
        written.extend_from_slice(chunk.get(copied..end).unwrap_or_default());
        Ok(written.freeze())
    }
}

/// The separator of the parts.
#[derive(Debug)]
enum Boundary {
    /// The Content-Type does not declare the boundary, and its first occurrence in the body has not been read.
    NotYetKnown,
    /// `--boundary`.
    Known(Arc<Delimiter>),
}

impl Boundary {
    fn known(boundary: &str) -> Self {
        Self::Known(Arc::new(Delimiter::new(boundary)))
    }

    /// Reads the boundary from the first line that begins like a delimiter; empty lines and a preamble may precede it. `None` if
    /// this line has not arrived. If the line is not a delimiter, no last delimiter follows, and the body is reported as incomplete.
    fn from_beginning(start: &[u8]) -> Result<Option<Self>, MultipartError> {
        for line in start.get(..MAX_HEADERS).unwrap_or(start).split_inclusive(|byte| *byte == b'\n') {
            let is_complete = line.ends_with(b"\n");
            match line.trim_ascii_end().strip_prefix(b"--") {
                Some(boundary) if boundary.len() > MAX_BOUNDARY => return Err(MultipartError::NoBoundary),
                Some(boundary) if is_complete && !boundary.is_empty() => {
                    return Ok(Some(Self::known(&String::from_utf8_lossy(boundary))));
                }
                _ => {}
            }
        }
        if start.len() > MAX_HEADERS { Err(MultipartError::NoBoundary) } else { Ok(None) }
    }
}

/// Returns the Content-Length in the headers of a part. Orthanc sends it; RFC 2046 does not define it.
fn content_length(headers: &[u8]) -> Option<u64> {
    const NAME: &[u8] = b"content-length:";
    let lines = headers.split(|byte| *byte == b'\n');
    let mut values = lines.filter_map(|line| {
        let (name, value) = line.split_at_checked(NAME.len())?;
        name.eq_ignore_ascii_case(NAME).then_some(value)
    });
    std::str::from_utf8(values.next_back()?.trim_ascii()).ok()?.parse().ok()
}

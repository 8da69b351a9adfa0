//! Rewrites the headers of parts while a multipart body is forwarded (RFC 2046 5.1). The content of parts is forwarded
//! unchanged, and a body that ends without its last delimiter is an error. Does not know what the headers mean.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::delimiter::{Delimiter, Follows};
use super::{MAX_BOUNDARY, MAX_HEADERS, MultipartError, length_of_headers};

/// Rewrites the headers of parts.
pub trait RewriteHeaders {
    /// The replacement for `headers`, lines including the empty line after them; `None` if they do not change.
    fn rewrite(&self, headers: &[u8]) -> Option<Vec<u8>>;
}

/// Rewrites the headers of parts in a multipart body that arrives in chunks.
#[derive(Debug)]
pub struct HeaderRewriter<R> {
    headers: R,
    boundary: Boundary,
    buffered: Vec<u8>,
    at_line_start: bool,
    /// Number of bytes of the current part that need not be searched, because its headers declare its length.
    skippable: u64,
    /// The last delimiter was read, or is not required.
    closed: bool,
}

impl<R: RewriteHeaders> HeaderRewriter<R> {
    /// A rewriter for a body whose Content-Type declares `boundary`; if it declares none, the first line of the body
    /// does. With `may_end_open`, the body is complete without its last delimiter.
    pub fn new(headers: R, boundary: Option<&str>, may_end_open: bool) -> Self {
        Self {
            headers,
            boundary: boundary.map_or(Boundary::NotYetKnown, Boundary::known),
            buffered: Vec::new(),
            at_line_start: true,
            skippable: 0,
            closed: may_end_open,
        }
    }

    /// The rewriter of headers.
    pub fn headers_mut(&mut self) -> &mut R {
        &mut self.headers
    }

    /// Reads the next chunk of the body and returns the bytes that can be sent.
    pub fn push(&mut self, chunk: Bytes) -> Result<Bytes, MultipartError> {
        let chunk = if self.buffered.is_empty() {
            chunk
        } else {
            let mut whole = BytesMut::with_capacity(self.buffered.len() + chunk.len());
            whole.extend_from_slice(&self.buffered);
            whole.extend_from_slice(&chunk);
            self.buffered.clear();
            whole.freeze()
        };
        if matches!(self.boundary, Boundary::NotYetKnown) {
            let Some(boundary) = Boundary::from_first_line(&chunk) else {
                self.buffered = chunk.to_vec();
                return Ok(Bytes::new());
            };
            self.boundary = boundary;
        }
        match &self.boundary {
            Boundary::Known(delimiter) => {
                let delimiter = Arc::clone(delimiter);
                self.read(&chunk, &delimiter)
            }
            Boundary::NotYetKnown | Boundary::None => Ok(chunk),
        }
    }

    /// Ends the body and returns the buffered bytes.
    pub fn finish(&mut self) -> Result<Bytes, MultipartError> {
        if let Boundary::Known(delimiter) = &self.boundary {
            let buffered = self.buffered.strip_prefix(delimiter.text());
            self.closed |= buffered.is_some_and(|after| after == b"--") && self.at_line_start;
        }
        if self.closed || matches!(self.boundary, Boundary::None) {
            return Ok(Bytes::from(std::mem::take(&mut self.buffered)));
        }
        Err(MultipartError::Incomplete)
    }

    fn read(&mut self, chunk: &Bytes, delimiter: &Delimiter) -> Result<Bytes, MultipartError> {
        let mut written = BytesMut::new();
        let (mut copied, mut position) = (0, 0);
        let end = loop {
            let skipped = usize::try_from(self.skippable).unwrap_or(usize::MAX).min(chunk.len() - position);
            self.skippable -= skipped as u64;
            position += skipped;
            let rest = chunk.get(position..).unwrap_or_default();
            let Some(found) = delimiter.find(rest) else {
                break chunk.len() - delimiter.partial_len(rest);
            };
            let start = position + found;
            let at_line_start = match start.checked_sub(1) {
                Some(before) => chunk.get(before) == Some(&b'\n'),
                None => self.at_line_start,
            };
            let after = start + delimiter.text().len();
            let rest = chunk.get(after..).unwrap_or_default();
            match Follows::read(rest) {
                _ if !at_line_start => position = start + 1,
                Follows::Data => position = start + 1,
                Follows::Last => {
                    self.closed = true;
                    position = after + 2;
                }
                Follows::Incomplete => break start,
                Follows::Headers(line) => {
                    let headers = rest.get(line..).unwrap_or_default();
                    let Some(length) = length_of_headers(headers) else {
                        if headers.len() > MAX_HEADERS {
                            return Err(MultipartError::HeadersTooLong);
                        }
                        break start;
                    };
                    let headers = headers.get(..length).unwrap_or_default();
                    if let Some(rewritten) = self.headers.rewrite(headers) {
                        written.reserve(chunk.len() - copied + rewritten.len());
                        written.extend_from_slice(chunk.get(copied..after + line).unwrap_or_default());
                        written.extend_from_slice(&rewritten);
                        copied = after + line + length;
                    }
                    position = after + line + length;
                    self.skippable = content_length(headers).unwrap_or(0);
                }
            }
        };
        self.buffered = chunk.get(end..).unwrap_or_default().to_vec();
        if let Some(last) = end.checked_sub(1).and_then(|at| chunk.get(at)) {
            self.at_line_start = *last == b'\n';
        }
        if copied == 0 {
            return Ok(chunk.slice(..end));
        }
        written.extend_from_slice(chunk.get(copied..end).unwrap_or_default());
        Ok(written.freeze())
    }
}

/// The separator of the parts.
#[derive(Debug)]
enum Boundary {
    /// The Content-Type does not declare it; the first line of the body will.
    NotYetKnown,
    /// `--boundary`.
    Known(Arc<Delimiter>),
    /// The body does not begin with a delimiter, so its parts are unknown.
    None,
}

impl Boundary {
    fn known(boundary: &str) -> Self {
        Self::Known(Arc::new(Delimiter::of(boundary)))
    }

    /// Reads the boundary from the first line of the body; `None` if the line is incomplete.
    fn from_first_line(chunk: &[u8]) -> Option<Self> {
        let dashes = chunk.starts_with(b"--") || (chunk.len() < 2 && b"--".starts_with(chunk));
        match memchr::memchr(b'\n', chunk) {
            Some(end) if dashes && end <= MAX_BOUNDARY => {
                let line = chunk.get(2..end).unwrap_or_default().trim_ascii_end();
                Some(Self::known(&String::from_utf8_lossy(line)))
            }
            None if dashes && chunk.len() <= MAX_BOUNDARY => None,
            _ => Some(Self::None),
        }
    }
}

/// The Content-Length in the headers of a part. Orthanc sends it; RFC 2046 does not define it.
fn content_length(headers: &[u8]) -> Option<u64> {
    const NAME: &[u8] = b"content-length:";
    let lines = headers.split(|byte| *byte == b'\n');
    let mut values = lines.filter_map(|line| {
        let (name, value) = line.split_at_checked(NAME.len())?;
        name.eq_ignore_ascii_case(NAME).then_some(value)
    });
    std::str::from_utf8(values.next_back()?.trim_ascii()).ok()?.parse().ok()
}

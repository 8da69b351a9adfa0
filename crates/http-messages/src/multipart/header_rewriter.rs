//! Headers of parts rewritten on their way (RFC 2046 5.1); the parts' own bytes pass untouched, and a body that ends without its
//! last delimiter is an error.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::delimiter::{Delimiter, Follows};
use super::{MAX_BOUNDARY, MAX_HEADERS, MultipartError, length_of_headers};

/// Changes the headers of parts.
pub trait RewriteHeaders {
    /// What goes out for `headers`, lines with the empty line that ends them; `None` when they stay as they are.
    fn rewrite(&self, headers: &[u8]) -> Option<Vec<u8>>;
}

/// Passes a multipart body that comes in chunks, with the headers of its parts rewritten.
#[derive(Debug)]
pub struct HeaderRewriter<R> {
    headers: R,
    boundary: Boundary,
    held: Vec<u8>,
    at_line_start: bool,
    /// So much of the part is still to come, as its headers tell its length: it need not be looked through.
    ahead: u64,
    /// The last delimiter has come, or is not to be waited for.
    closed: bool,
}

impl<R: RewriteHeaders> HeaderRewriter<R> {
    /// For a body whose head names `boundary`, or none: then its first line tells. A body that `may_end_open` is whole without
    /// its last delimiter.
    pub fn new(headers: R, boundary: Option<&str>, may_end_open: bool) -> Self {
        Self {
            headers,
            boundary: boundary.map_or(Boundary::NotYetKnown, Boundary::named),
            held: Vec::new(),
            at_line_start: true,
            ahead: 0,
            closed: may_end_open,
        }
    }

    /// What changes the headers.
    pub fn headers_mut(&mut self) -> &mut R {
        &mut self.headers
    }

    /// Takes the next chunk of the body, and gives what can go out.
    pub fn push(&mut self, chunk: Bytes) -> Result<Bytes, MultipartError> {
        let chunk = if self.held.is_empty() {
            chunk
        } else {
            let mut whole = BytesMut::with_capacity(self.held.len() + chunk.len());
            whole.extend_from_slice(&self.held);
            whole.extend_from_slice(&chunk);
            self.held.clear();
            whole.freeze()
        };
        if matches!(self.boundary, Boundary::NotYetKnown) {
            let Some(boundary) = Boundary::from_first_line(&chunk) else {
                self.held = chunk.to_vec();
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

    /// Says that the body has ended, and gives what was held back.
    pub fn finish(&mut self) -> Result<Bytes, MultipartError> {
        if let Boundary::Known(delimiter) = &self.boundary {
            let held = self.held.strip_prefix(delimiter.text());
            self.closed |= held.is_some_and(|behind| behind == b"--") && self.at_line_start;
        }
        if self.closed || matches!(self.boundary, Boundary::None) {
            return Ok(Bytes::from(std::mem::take(&mut self.held)));
        }
        Err(MultipartError::Incomplete)
    }

    fn read(&mut self, chunk: &Bytes, delimiter: &Delimiter) -> Result<Bytes, MultipartError> {
        let mut written = BytesMut::new();
        let (mut kept, mut position) = (0, 0);
        let end = loop {
            let told = usize::try_from(self.ahead).unwrap_or(usize::MAX).min(chunk.len() - position);
            self.ahead -= told as u64;
            position += told;
            let rest = chunk.get(position..).unwrap_or_default();
            let Some(found) = delimiter.find(rest) else {
                break chunk.len() - delimiter.begun(rest);
            };
            let start = position + found;
            let at_line_start = match start.checked_sub(1) {
                Some(before) => chunk.get(before) == Some(&b'\n'),
                None => self.at_line_start,
            };
            let behind = start + delimiter.text().len();
            let rest = chunk.get(behind..).unwrap_or_default();
            match Follows::read(rest) {
                _ if !at_line_start => position = start + 1,
                Follows::Data => position = start + 1,
                Follows::Last => {
                    self.closed = true;
                    position = behind + 2;
                }
                Follows::CutOff => break start,
                Follows::Headers(line) => {
                    let headers = rest.get(line..).unwrap_or_default();
                    let Some(length) = length_of_headers(headers) else {
                        if headers.len() > MAX_HEADERS {
                            return Err(MultipartError::HeadersTooLong);
                        }
                        break start;
                    };
                    let headers = headers.get(..length).unwrap_or_default();
                    if let Some(ours) = self.headers.rewrite(headers) {
                        written.reserve(chunk.len() - kept + ours.len());
                        written.extend_from_slice(chunk.get(kept..behind + line).unwrap_or_default());
                        written.extend_from_slice(&ours);
                        kept = behind + line + length;
                    }
                    position = behind + line + length;
                    self.ahead = told_length(headers).unwrap_or(0);
                }
            }
        };
        self.held = chunk.get(end..).unwrap_or_default().to_vec();
        if let Some(last) = end.checked_sub(1).and_then(|at| chunk.get(at)) {
            self.at_line_start = *last == b'\n';
        }
        if kept == 0 {
            return Ok(chunk.slice(..end));
        }
        written.extend_from_slice(chunk.get(kept..end).unwrap_or_default());
        Ok(written.freeze())
    }
}

/// What separates the parts.
#[derive(Debug)]
enum Boundary {
    /// The head does not tell; the body's first line will.
    NotYetKnown,
    /// `--boundary`.
    Known(Arc<Delimiter>),
    /// The body does not begin with one: nothing is known of its parts.
    None,
}

impl Boundary {
    fn named(boundary: &str) -> Self {
        Self::Known(Arc::new(Delimiter::of(boundary)))
    }

    /// Of a body whose head names none; `None` while its first line is incomplete.
    fn from_first_line(chunk: &[u8]) -> Option<Self> {
        let dashes = chunk.starts_with(b"--") || (chunk.len() < 2 && b"--".starts_with(chunk));
        match memchr::memchr(b'\n', chunk) {
            Some(end) if dashes && end <= MAX_BOUNDARY => {
                let line = chunk.get(2..end).unwrap_or_default().trim_ascii_end();
                Some(Self::named(&String::from_utf8_lossy(line)))
            }
            None if dashes && chunk.len() <= MAX_BOUNDARY => None,
            _ => Some(Self::None),
        }
    }
}

/// What the headers of a part tell of its length. Orthanc does; RFC 2046 knows no such header, and leaves it to be read.
fn told_length(headers: &[u8]) -> Option<u64> {
    const NAME: &[u8] = b"content-length:";
    let lines = headers.split(|byte| *byte == b'\n');
    let mut values = lines.filter_map(|line| {
        let (name, value) = line.split_at_checked(NAME.len())?;
        name.eq_ignore_ascii_case(NAME).then_some(value)
    });
    std::str::from_utf8(values.next_back()?.trim_ascii()).ok()?.parse().ok()
}

//! Multipart bodies (RFC 2046 5.1) on their way: addresses in the headers of parts become ours, the parts' own bytes pass
//! untouched, and a body that ends without its last delimiter is an error.
//!
//! Only delimiters are looked for, in linear time, and only the headers of one part are ever held.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use memchr::memmem::{self, Finder};

use super::address::{Addresses, Verdict};
use super::stream::StreamError;

/// The headers of one part; a few hundred bytes are usual.
const LONGEST_HEADERS: usize = 16 * 1024;

/// RFC 2046 5.1.1 allows 70 characters; Orthanc's boundaries have 73.
const LONGEST_BOUNDARY: usize = 256;

/// The boundary that a `Content-Type` names, quoted in whatever way.
pub(super) fn boundary_of(content_type: &str) -> Option<&str> {
    let at = content_type.to_ascii_lowercase().rfind("boundary=")?;
    let value = content_type.get(at + "boundary=".len()..)?.trim_start();
    let boundary = match value.bytes().next()? {
        quote @ (b'"' | b'\'') => value.get(1..)?.split(char::from(quote)).next()?,
        _ => value.split([';', ' ', '\t']).next()?,
    };
    (1..=LONGEST_BOUNDARY).contains(&boundary.len()).then_some(boundary)
}

/// Reads along in a multipart body.
#[derive(Debug)]
pub(super) struct PartHeaders {
    addresses: Addresses,
    delimiter: Delimiter,
    /// Complete answers of this archive are known to end without the last delimiter.
    may_end_open: bool,
    held: Vec<u8>,
    at_line_start: bool,
    closed: bool,
}

impl PartHeaders {
    /// For a body whose head names `boundary`, or none: then its first line tells.
    pub(super) fn new(addresses: Addresses, boundary: Option<&str>, may_end_open: bool) -> Self {
        Self {
            addresses,
            delimiter: boundary.map_or(Delimiter::Untold, Delimiter::of),
            may_end_open,
            held: Vec::new(),
            at_line_start: true,
            closed: false,
        }
    }

    pub(super) fn push(&mut self, chunk: Bytes) -> Result<Bytes, StreamError> {
        let chunk = if self.held.is_empty() {
            chunk
        } else {
            let mut whole = BytesMut::with_capacity(self.held.len() + chunk.len());
            whole.extend_from_slice(&self.held);
            whole.extend_from_slice(&chunk);
            self.held.clear();
            whole.freeze()
        };
        if matches!(self.delimiter, Delimiter::Untold) {
            let Some(delimiter) = Delimiter::from_first_line(&chunk) else {
                self.held = chunk.to_vec();
                return Ok(Bytes::new());
            };
            self.delimiter = delimiter;
        }
        match &self.delimiter {
            Delimiter::Known(finder) => {
                let finder = Arc::clone(finder);
                self.read(&chunk, &finder)
            }
            Delimiter::Untold | Delimiter::None => Ok(chunk),
        }
    }

    pub(super) fn finish(&mut self) -> Result<Bytes, StreamError> {
        if let Delimiter::Known(finder) = &self.delimiter {
            let held = self.held.strip_prefix(finder.needle());
            self.closed |= held.is_some_and(|behind| behind == b"--") && self.at_line_start;
        }
        if self.closed || self.may_end_open || matches!(self.delimiter, Delimiter::None) {
            return Ok(Bytes::from(std::mem::take(&mut self.held)));
        }
        Err(StreamError::Incomplete)
    }

    fn read(&mut self, chunk: &Bytes, finder: &Finder<'_>) -> Result<Bytes, StreamError> {
        let mut written = BytesMut::new();
        let (mut kept, mut position) = (0, 0);
        let end = loop {
            let rest = chunk.get(position..).unwrap_or_default();
            let Some(found) = finder.find(rest) else {
                break chunk.len() - begun(rest, finder.needle());
            };
            let start = position + found;
            let at_line_start = match start.checked_sub(1) {
                Some(before) => chunk.get(before) == Some(&b'\n'),
                None => self.at_line_start,
            };
            let behind = start + finder.needle().len();
            let rest = chunk.get(behind..).unwrap_or_default();
            match Behind::delimiter(rest) {
                _ if !at_line_start => position = start + 1,
                Behind::Data => position = start + 1,
                Behind::Last => {
                    self.closed = true;
                    position = behind + 2;
                }
                Behind::CutOff => break start,
                Behind::Headers(line) => {
                    let headers = rest.get(line..).unwrap_or_default();
                    let Some(length) = length_of_headers(headers) else {
                        if headers.len() > LONGEST_HEADERS {
                            return Err(StreamError::PartHeadersTooLong);
                        }
                        break start;
                    };
                    let headers = headers.get(..length).unwrap_or_default();
                    if let Some(ours) = self.rewritten(headers) {
                        written.reserve(chunk.len() - kept + ours.len());
                        written.extend_from_slice(chunk.get(kept..behind + line).unwrap_or_default());
                        written.extend_from_slice(&ours);
                        kept = behind + line + length;
                    }
                    position = behind + line + length;
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

    /// The headers of a part with our addresses; `None` when they hold no address.
    fn rewritten(&self, headers: &[u8]) -> Option<Vec<u8>> {
        let mut changed = false;
        let mut written = Vec::with_capacity(headers.len() + 64);
        for line in headers.split_inclusive(|byte| *byte == b'\n') {
            let (name, value) = match memchr::memchr(b':', line) {
                Some(colon) => {
                    (line.get(..colon).unwrap_or_default(), line.get(colon + 1..).unwrap_or_default())
                }
                None => (line, [].as_slice()),
            };
            let value = String::from_utf8_lossy(value);
            let verdict = if name.trim_ascii().eq_ignore_ascii_case(b"content-location") {
                self.addresses.judge(value.trim())
            } else if value.contains("//") {
                Verdict::Foreign
            } else {
                Verdict::Same
            };
            match verdict {
                Verdict::Same => {
                    written.extend_from_slice(line);
                    continue;
                }
                Verdict::Foreign => {}
                Verdict::Ours(address) => {
                    written.extend_from_slice(b"Content-Location: ");
                    // What is served here holds no line break; what stands below the archive's root might.
                    written.extend(address.bytes().filter(|byte| matches!(byte, b'!'..=b'~')));
                    written.extend_from_slice(b"\r\n");
                }
            }
            changed = true;
        }
        changed.then_some(written)
    }
}

/// What parts the parts.
#[derive(Debug)]
enum Delimiter {
    /// The head does not tell; the body's first line will.
    Untold,
    /// `--boundary`.
    Known(Arc<Finder<'static>>),
    /// The body does not begin with one: nothing is known of its parts.
    None,
}

impl Delimiter {
    fn of(boundary: &str) -> Self {
        Self::Known(Arc::new(Finder::new(&format!("--{boundary}")).into_owned()))
    }

    /// Of a body whose head does not tell it; `None` while its first line is incomplete.
    fn from_first_line(chunk: &[u8]) -> Option<Self> {
        let dashes = chunk.starts_with(b"--") || (chunk.len() < 2 && b"--".starts_with(chunk));
        match memchr::memchr(b'\n', chunk) {
            Some(end) if dashes && end <= LONGEST_BOUNDARY => {
                let line = chunk.get(2..end).unwrap_or_default().trim_ascii_end();
                Some(Self::of(&String::from_utf8_lossy(line)))
            }
            None if dashes && chunk.len() <= LONGEST_BOUNDARY => None,
            _ => Some(Self::None),
        }
    }
}

/// How many bytes at the end of `rest` could be the beginning of `needle`.
fn begun(rest: &[u8], needle: &[u8]) -> usize {
    let longest = rest.len().min(needle.len().saturating_sub(1));
    let begins = |length: &usize| needle.get(..*length).is_some_and(|start| rest.ends_with(start));
    (1..=longest).rev().find(begins).unwrap_or(0)
}

/// What stands behind `--boundary`.
enum Behind {
    /// The line ends: headers follow after so many bytes.
    Headers(usize),
    /// Two more dashes, and the line ends: it was the last delimiter.
    Last,
    /// Something else: it was none.
    Data,
    /// Nothing yet.
    CutOff,
}

impl Behind {
    fn delimiter(rest: &[u8]) -> Self {
        let blanks = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        match (rest.get(blanks), rest.get(blanks + 1)) {
            _ if blanks > LONGEST_BOUNDARY => Self::Data,
            (Some(b'-'), Some(b'-')) if blanks == 0 => match rest.get(2) {
                Some(b'\r' | b'\n' | b' ' | b'\t') => Self::Last,
                Some(_) => Self::Data,
                // At the end of the body it is the last one.
                None => Self::CutOff,
            },
            (Some(b'\r'), Some(b'\n')) => Self::Headers(blanks + 2),
            (Some(b'\n'), _) => Self::Headers(blanks + 1),
            (None | Some(b'\r' | b'-'), None) => Self::CutOff,
            _ => Self::Data,
        }
    }
}

/// The length of the headers with the empty line behind them; `None` when that has not come.
fn length_of_headers(text: &[u8]) -> Option<usize> {
    if text.starts_with(b"\r\n") {
        return Some(2);
    }
    if text.starts_with(b"\n") {
        return Some(1);
    }
    let text = text.get(..LONGEST_HEADERS).unwrap_or(text);
    let strict = memmem::find(text, b"\r\n\r\n").map(|at| at + 4);
    let loose = memmem::find(text, b"\n\n").map(|at| at + 2);
    strict.into_iter().chain(loose).min()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use url::Url;

    use super::*;

    fn parts(boundary: Option<&str>) -> PartHeaders {
        let root = Url::parse("http://pacs:8042/dicom-web").unwrap();
        let addresses = Addresses::new("https://gw/dicom-web/main", &root, &root, "studies/1.2");
        PartHeaders::new(addresses, boundary, false)
    }

    fn passed(mut parts: PartHeaders, body: &[u8], size: usize) -> Result<Vec<u8>, StreamError> {
        let mut written = Vec::new();
        for chunk in body.chunks(size.max(1)) {
            written.extend_from_slice(&parts.push(Bytes::copy_from_slice(chunk))?);
        }
        written.extend_from_slice(&parts.finish()?);
        Ok(written)
    }

    const BODY: &[u8] = b"preamble\r\n--B\r\nContent-Type: application/octet-stream; x=a/b\r\nContent-Location: http://pacs:8042/dicom-web/studies/1.2\r\nX-Node: http://inner:1/\r\n\r\n\x00\xFF--B\r\n-\r\n--Bx\r\n--\r\n--B\r\n\r\n\r\n\r\n--B--\r\n";
    const AFTER: &[u8] = b"preamble\r\n--B\r\nContent-Type: application/octet-stream; x=a/b\r\nContent-Location: https://gw/dicom-web/main/studies/1.2\r\n\r\n\x00\xFF--B\r\n-\r\n--Bx\r\n--\r\n--B\r\n\r\n\r\n\r\n--B--\r\n";

    #[test]
    fn the_boundary_is_found_however_it_is_quoted() {
        for (content_type, boundary) in [
            ("multipart/related; type=\"application/dicom\"; boundary=abc", Some("abc")),
            ("multipart/related; boundary=\"a b\"; type=x", Some("a b")),
            ("multipart/related;Boundary='abc'", Some("abc")),
            ("multipart/related; boundary=a;type='application/dicom'", Some("a")),
            ("multipart/related", None),
            ("multipart/related; boundary=", None),
            ("multipart/related; boundary=\"\"", None),
        ] {
            assert_eq!(boundary_of(content_type), boundary, "{content_type}");
        }
    }

    #[test]
    fn only_the_headers_of_parts_change_whatever_the_chunks() {
        for size in 1..=BODY.len() {
            assert_eq!(passed(parts(Some("B")), BODY, size).unwrap(), AFTER, "{size}");
        }
    }

    #[test]
    fn a_body_cut_at_any_byte_is_not_whole() {
        let whole = BODY.len() - 2;
        for length in 0..whole {
            for size in [1, 5, BODY.len()] {
                let cut = passed(parts(Some("B")), &BODY[..length], size);
                assert_eq!(cut, Err(StreamError::Incomplete), "{length} in chunks of {size}");
            }
        }
        assert!(passed(parts(Some("B")), &BODY[..whole], 7).is_ok());
    }

    #[test]
    fn a_boundary_that_the_head_does_not_tell_is_read_from_the_first_line() {
        let body = &BODY["preamble\r\n".len()..];
        let after = &AFTER["preamble\r\n".len()..];
        for size in [1, 2, 3, body.len()] {
            assert_eq!(passed(parts(None), body, size).unwrap(), after, "{size}");
        }
        assert_eq!(passed(parts(None), &body[..body.len() - 6], 4), Err(StreamError::Incomplete));
        assert_eq!(passed(parts(None), b"no multipart at all", 4).unwrap(), b"no multipart at all");
    }

    #[test]
    fn endless_headers_end_the_stream() {
        let body = format!("--B\r\nX: {}", "a".repeat(2 * LONGEST_HEADERS));
        assert_eq!(passed(parts(Some("B")), body.as_bytes(), 1000), Err(StreamError::PartHeadersTooLong));
    }

    #[test]
    fn what_is_known_to_end_open_may_end_open() {
        let mut open = parts(Some("B"));
        open.may_end_open = true;
        assert_eq!(passed(open, b"--B\r\n\r\nx\r\n--", 3).unwrap(), b"--B\r\n\r\nx\r\n--");
    }

    proptest! {
        #[test]
        fn the_result_does_not_depend_on_how_the_body_is_cut(
            pieces in prop::collection::vec("--B|--|\r\n|\n|\r|B|x|Content-Location: http://pacs:8042/dicom-web/studies/1|: http://x/| ", 0..30),
            size in 1usize..20,
        ) {
            let body = pieces.concat();
            let whole = passed(parts(Some("B")), body.as_bytes(), body.len().max(1));
            prop_assert_eq!(passed(parts(Some("B")), body.as_bytes(), size), whole.clone());
            prop_assert_eq!(passed(parts(Some("B")), body.as_bytes(), 1), whole);
        }

        #[test]
        fn parts_without_addresses_pass_byte_for_byte(
            data in prop::collection::vec(any::<u8>(), 0..300), size in 1usize..50,
        ) {
            let mut body = b"--B\r\nContent-Type: application/dicom\r\n\r\n".to_vec();
            body.extend_from_slice(&data);
            body.extend_from_slice(b"\r\n--B--");
            prop_assert_eq!(passed(parts(Some("B")), &body, size).unwrap(), body);
        }
    }
}

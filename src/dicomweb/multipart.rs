//! Multipart bodies (RFC 2046 5.1) on their way: addresses in the headers of parts become ours, the parts' own bytes pass
//! untouched, and a body that ends without its last delimiter is an error.
//!
//! Only delimiters are looked for, in linear time, and only the headers of one part are ever held.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use memchr::memmem;

use super::address::{Addresses, Verdict};
use super::delimiter::{Behind, Delimiter, LONGEST_BOUNDARY};
use super::stream::StreamError;

/// The headers of one part; a few hundred bytes are usual.
const LONGEST_HEADERS: usize = 16 * 1024;

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
    parting: Parting,
    /// The head of the answer promises a length: what cannot stay is blanked.
    keeps_length: bool,
    held: Vec<u8>,
    at_line_start: bool,
    /// So much of the part is still to come, as its headers tell its length: it need not be looked through.
    ahead: u64,
    /// The last delimiter has come, or complete answers of this archive are known to end without it.
    closed: bool,
}

impl PartHeaders {
    /// For a body whose head names `boundary`, or none: then its first line tells.
    pub(super) fn new(addresses: Addresses, boundary: Option<&str>, may_end_open: bool) -> Self {
        Self {
            addresses,
            parting: boundary.map_or(Parting::Untold, Parting::by),
            keeps_length: false,
            held: Vec::new(),
            at_line_start: true,
            ahead: 0,
            closed: may_end_open,
        }
    }

    /// Changes nothing that would change the length of the body.
    pub(super) fn keep_length(&mut self) {
        self.keeps_length = true;
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
        if matches!(self.parting, Parting::Untold) {
            let Some(parting) = Parting::from_first_line(&chunk) else {
                self.held = chunk.to_vec();
                return Ok(Bytes::new());
            };
            self.parting = parting;
        }
        match &self.parting {
            Parting::By(delimiter) => {
                let delimiter = Arc::clone(delimiter);
                self.read(&chunk, &delimiter)
            }
            Parting::Untold | Parting::Unknown => Ok(chunk),
        }
    }

    pub(super) fn finish(&mut self) -> Result<Bytes, StreamError> {
        if let Parting::By(delimiter) = &self.parting {
            let held = self.held.strip_prefix(delimiter.text());
            self.closed |= held.is_some_and(|behind| behind == b"--") && self.at_line_start;
        }
        if self.closed || matches!(self.parting, Parting::Unknown) {
            return Ok(Bytes::from(std::mem::take(&mut self.held)));
        }
        Err(StreamError::Incomplete)
    }

    fn read(&mut self, chunk: &Bytes, delimiter: &Delimiter) -> Result<Bytes, StreamError> {
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
            match Behind::read(rest) {
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

    /// The headers of a part with our addresses; `None` when they hold no address.
    fn rewritten(&self, headers: &[u8]) -> Option<Vec<u8>> {
        let mut changed = false;
        let mut written = Vec::with_capacity(headers.len() + 64);
        for line in headers.split_inclusive(|byte| *byte == b'\n') {
            // A line that is no field goes on with the one before it, or is nonsense; either may hold an address.
            let (name, rest) = match memchr::memchr(b':', line) {
                Some(colon) => (&line[..colon], &line[colon + 1..]),
                None => (&line[..0], line),
            };
            let value = String::from_utf8_lossy(rest);
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
                Verdict::Foreign | Verdict::Ours(_) if self.keeps_length => {
                    let kept = line.len() - rest.len();
                    let end = line.trim_ascii_end().len();
                    written.extend_from_slice(&line[..kept]);
                    written.resize(written.len() + end.saturating_sub(kept), b' ');
                    written.extend_from_slice(&line[end.max(kept)..]);
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
enum Parting {
    /// The head does not tell; the body's first line will.
    Untold,
    /// `--boundary`.
    By(Arc<Delimiter>),
    /// The body does not begin with one: nothing is known of its parts.
    Unknown,
}

impl Parting {
    fn by(boundary: &str) -> Self {
        Self::By(Arc::new(Delimiter::of(boundary)))
    }

    /// Of a body whose head does not tell it; `None` while its first line is incomplete.
    fn from_first_line(chunk: &[u8]) -> Option<Self> {
        let dashes = chunk.starts_with(b"--") || (chunk.len() < 2 && b"--".starts_with(chunk));
        match memchr::memchr(b'\n', chunk) {
            Some(end) if dashes && end <= LONGEST_BOUNDARY => {
                let line = chunk.get(2..end).unwrap_or_default().trim_ascii_end();
                Some(Self::by(&String::from_utf8_lossy(line)))
            }
            None if dashes && chunk.len() <= LONGEST_BOUNDARY => None,
            _ => Some(Self::Unknown),
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

/// Whether the headers of the first part in `start`, the beginning of a body, hold an address, or might.
pub(super) fn begins_with_address(start: &[u8]) -> bool {
    let headers = start.get(..LONGEST_HEADERS).unwrap_or(start);
    match memmem::find(headers, b"\r\n\r\n") {
        Some(end) => memmem::find(&headers[..end], b"//").is_some(),
        None => true,
    }
}

/// The length of the headers with the empty line behind them; `None` when that has not come.
pub(super) fn length_of_headers(text: &[u8]) -> Option<usize> {
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
    fn a_part_that_tells_its_length_is_not_looked_into() {
        let body =
            b"--B\r\nContent-Length: 7\r\n\r\n\r\n--B--\r\n--B\r\ncontent-length:0\r\n\r\n\r\n--B--\r\n";
        let whole = body.len() - 2;
        for size in 1..=body.len() {
            assert_eq!(passed(parts(Some("B")), body, size).unwrap(), body, "{size}");
            for length in 0..whole {
                let cut = passed(parts(Some("B")), &body[..length], size);
                assert_eq!(cut, Err(StreamError::Incomplete), "{length} in chunks of {size}");
            }
        }
    }

    #[test]
    fn a_part_that_is_shorter_than_it_says_ends_no_body() {
        let body = b"--B\r\nContent-Length: 99\r\n\r\nx\r\n--B--\r\n";
        assert_eq!(passed(parts(Some("B")), body, 8), Err(StreamError::Incomplete));
        let body = b"--B\r\nContent-Length: 1\r\n\r\nxyz\r\n--B--\r\n";
        assert_eq!(passed(parts(Some("B")), body, 8).unwrap(), body, "a longer one is found all the same");
    }

    #[test]
    fn where_the_length_is_promised_addresses_are_blanked() {
        let body = b"--B\r\nContent-Location: http://pacs:8042/dicom-web/studies/1.2\r\nX: a\r\n //inner/\r\n\r\nx\r\n--B--\r\n";
        let blanks = " ".repeat(" http://pacs:8042/dicom-web/studies/1.2".len());
        let after = format!("--B\r\nContent-Location:{blanks}\r\nX: a\r\n         \r\n\r\nx\r\n--B--\r\n");
        for size in 1..=body.len() {
            let mut parts = parts(Some("B"));
            parts.keep_length();
            let passed = passed(parts, body, size).unwrap();
            assert_eq!(String::from_utf8_lossy(&passed), after, "{size}");
        }
    }

    #[test]
    fn the_first_part_tells_whether_addresses_are_to_be_expected() {
        assert!(!begins_with_address(b"--B\r\nContent-Type: application/dicom\r\n\r\nhttp://data"));
        assert!(begins_with_address(b"--B\r\nContent-Location: http://a/\r\n\r\n"));
        assert!(begins_with_address(b"--B\r\nContent-Type: application/dicom\r\n"), "cut off: who knows");
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
        open.closed = true;
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

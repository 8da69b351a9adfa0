//! Rewrites the headers of parts (RFC 2046 5.1, PS3.18 8.6.1.2): removes those that DICOMweb does not define, which may contain
//! anything, and parameters that do not describe the content; rewrites the URLs of locations.

use memchr::memmem;

use super::url_map::{UrlMap, UrlRewrite};
use http_messages::media_range::MediaRange;
use http_messages::multipart::MAX_HEADERS;
use http_messages::multipart::header_rewriter::{HeaderRewriter, RewriteHeaders};

/// The rewriter of the headers of the parts of a multipart body.
pub(crate) type PartHeaders = HeaderRewriter<PartUrls>;

/// The parameters of the media type of a part.
const TYPE_PARAMETERS: [&str; 2] = ["transfer-syntax", "charset"];

/// Replaces the headers of a part.
#[derive(Debug)]
pub(crate) struct PartUrls {
    urls: UrlMap,
    /// Whether the response has a Content-Length. Then the headers have the length that they had.
    preserves_length: bool,
}

/// What happens to a header.
enum HeaderChange {
    Kept,
    Removed,
    Replaced(String),
}

impl PartUrls {
    /// Creates a rewriter that does not preserve the length of the headers.
    pub(crate) fn new(urls: UrlMap) -> Self {
        Self { urls, preserves_length: false }
    }

    /// Preserves the length of the headers, by adding spaces.
    pub(crate) fn preserve_length(&mut self) {
        self.preserves_length = true;
    }

    /// Whether `start`, the beginning of a body with this boundary, is the delimiter and all headers of the first part, and they do not
    /// change.
    pub(crate) fn keeps_beginning(&self, start: &[u8], boundary: &str) -> bool {
        let start = start.get(..MAX_HEADERS).unwrap_or(start);
        let headers = start
            .strip_prefix(b"--")
            .and_then(|rest| rest.strip_prefix(boundary.as_bytes()))
            .and_then(|rest| rest.strip_prefix(b"\r\n"));
        let headers = headers.and_then(|headers| {
            let end = if headers.starts_with(b"\r\n") { 2 } else { memmem::find(headers, b"\r\n\r\n")? + 4 };
            headers.get(..end)
        });
        headers.is_some_and(|headers| self.rewrite(headers).is_none())
    }

    /// Returns what happens to the header `name`, in lower case, with this value.
    fn change(&self, name: &str, value: &str) -> HeaderChange {
        let is_token = |value: &str| {
            !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        match name {
            "content-type" => match MediaRange::parse(value) {
                Some(range)
                    if range.parameters.iter().all(|(name, _)| TYPE_PARAMETERS.contains(&name.as_str())) =>
                {
                    HeaderChange::Kept
                }
                Some(range) => {
                    HeaderChange::Replaced(format!("Content-Type: {}", range.with_only(&TYPE_PARAMETERS)))
                }
                None => HeaderChange::Removed,
            },
            "content-location" | "location" => match self.urls.rewrite(value) {
                UrlRewrite::Unchanged => HeaderChange::Kept,
                UrlRewrite::Dropped => HeaderChange::Removed,
                UrlRewrite::Rewritten(url) => {
                    // A path of the archive may contain a line break.
                    let url: String =
                        url.chars().filter(|character| matches!(character, '!'..='~')).collect();
                    let name = if name == "location" { "Location" } else { "Content-Location" };
                    HeaderChange::Replaced(format!("{name}: {url}"))
                }
            },
            "content-length" if value.bytes().all(|byte| byte.is_ascii_digit()) => HeaderChange::Kept,
            // Without them the content would be read in another way.
            "content-encoding" | "content-transfer-encoding" if is_token(value) => HeaderChange::Kept,
            _ => HeaderChange::Removed,
        }
    }
}

impl RewriteHeaders for PartUrls {
    fn rewrite(&self, headers: &[u8]) -> Option<Vec<u8>> {
        let mut written: Vec<u8> = Vec::with_capacity(headers.len() + 64);
        let mut is_changed = false;
        // Where spaces can be added: at the end of the last header.
        let mut end_of_last = None;
        for field in fields(headers) {
            let text = String::from_utf8_lossy(field);
            if text.trim().is_empty() {
                written.extend_from_slice(field);
                continue;
            }
            let change = match text.split_once(':') {
                Some((name, value)) => self.change(&name.trim().to_ascii_lowercase(), value.trim()),
                None => HeaderChange::Removed,
            };
            match change {
                HeaderChange::Kept => {
                    written.extend_from_slice(field);
                    end_of_last = Some(written.trim_ascii_end().len());
                    continue;
                }
                HeaderChange::Replaced(line) if !self.preserves_length || line.len() + 2 <= field.len() => {
                    written.extend_from_slice(line.as_bytes());
                    end_of_last = Some(written.len());
                    written.extend_from_slice(b"\r\n");
                }
                HeaderChange::Replaced(_) | HeaderChange::Removed => {}
            }
            is_changed = true;
        }
        if self.preserves_length && is_changed {
            let missing = headers.len().saturating_sub(written.len());
            let (position, line) = match end_of_last {
                Some(end) => (end, " ".repeat(missing)),
                None => (0, format!("X:{}\r\n", " ".repeat(missing.saturating_sub(4)))),
            };
            written.splice(position..position, line.into_bytes());
        }
        is_changed.then_some(written)
    }
}

/// Splits headers into fields: lines with the lines that continue them (RFC 5322 2.2.3), and the empty line after them.
fn fields(headers: &[u8]) -> Vec<&[u8]> {
    let mut fields = Vec::new();
    let (mut start, mut end) = (0, 0);
    for line in headers.split_inclusive(|byte| *byte == b'\n') {
        let is_continued = line.starts_with(b" ") || line.starts_with(b"\t");
        if !is_continued && end > start {
            fields.push(&headers[start..end]);
            start = end;
        }
        end += line.len();
    }
    fields.push(&headers[start..end]);
    fields
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use url::Url;

    use super::*;
    use http_messages::multipart::MultipartError;

    fn urls() -> PartUrls {
        let root = Url::parse("http://pacs:8042/dicom-web").unwrap();
        PartUrls::new(UrlMap::new("https://gw/dicom-web/main", &root, &root, "studies/1.2"))
    }

    fn parts(boundary: Option<&str>) -> PartHeaders {
        PartHeaders::new(urls(), boundary, false)
    }

    fn rewrite(mut parts: PartHeaders, body: &[u8], size: usize) -> Result<Vec<u8>, MultipartError> {
        let mut output = Vec::new();
        for chunk in body.chunks(size.max(1)) {
            output.extend_from_slice(&parts.push(Bytes::copy_from_slice(chunk))?);
        }
        output.extend_from_slice(&parts.finish()?);
        Ok(output)
    }

    const BODY: &[u8] = b"preamble\r\n--B\r\nContent-Type: application/octet-stream; x=a/b\r\nContent-Location: http://pacs:8042/dicom-web/studies/1.2\r\nX-Node: http://inner:1/\r\n\r\n\x00\xFF--B\r\n-\r\n--Bx\r\n--\r\n--B\r\n\r\n\r\n\r\n--B--\r\n";
    const REWRITTEN_BODY: &[u8] = b"--B\r\nContent-Type: application/octet-stream\r\nContent-Location: https://gw/dicom-web/main/studies/1.2\r\n\r\n\x00\xFF--B\r\n-\r\n--Bx\r\n--\r\n--B\r\n\r\n\r\n\r\n--B--\r\n";

    #[test]
    fn only_the_headers_of_parts_change_for_all_chunk_sizes() {
        for size in 1..=BODY.len() {
            assert_eq!(rewrite(parts(Some("B")), BODY, size).unwrap(), REWRITTEN_BODY, "{size}");
        }
    }

    #[test]
    fn a_part_with_content_length_is_not_searched_for_delimiters() {
        let body =
            b"--B\r\nContent-Length: 7\r\n\r\n\r\n--B--\r\n--B\r\ncontent-length:0\r\n\r\n\r\n--B--\r\n";
        let whole = body.len() - 2;
        for size in 1..=body.len() {
            assert_eq!(rewrite(parts(Some("B")), body, size).unwrap(), body, "{size}");
            for length in 1..whole {
                let truncated = rewrite(parts(Some("B")), &body[..length], size);
                assert_eq!(truncated, Err(MultipartError::Incomplete), "{length} in chunks of {size}");
            }
        }
    }

    #[test]
    fn a_part_that_is_shorter_than_its_content_length_is_incomplete() {
        let body = b"--B\r\nContent-Length: 99\r\n\r\nx\r\n--B--\r\n";
        assert_eq!(rewrite(parts(Some("B")), body, 8), Err(MultipartError::Incomplete));
        let body = b"--B\r\nContent-Length: 1\r\n\r\nxyz\r\n--B--\r\n";
        assert_eq!(rewrite(parts(Some("B")), body, 8).unwrap(), body, "the delimiter ends a longer part");
    }

    #[test]
    fn headers_that_dicomweb_does_not_define_are_removed() {
        for (headers, expected) in [
            ("Content-Type: application/dicom;transfer-syntax=1.2\r\n", None),
            ("Content-Type: image/jpeg;\r\n transfer-syntax=1.2\r\nContent-Length: 3\r\n", None),
            ("content-transfer-encoding: binary\r\n", None),
            ("location: /rs/studies/1.2\r\n", Some("Location: https://gw/dicom-web/main/studies/1.2\r\n")),
            ("MIME-Version: 1.0\r\nContent-Type: a/b\r\nX-Node: n\r\n", Some("Content-Type: a/b\r\n")),
            (
                "Content-Type: a/b; name=\"DOE\"; transfer-syntax=1.2\r\n",
                Some("Content-Type: a/b; transfer-syntax=1.2\r\n"),
            ),
            (
                "Content-Disposition: attachment;\r\n filename=x\r\nContent-Type: a/b\r\n",
                Some("Content-Type: a/b\r\n"),
            ),
            ("Content-Type: nonsense\r\nContent-Length: x\r\nno header\r\n", Some("")),
            ("Content-Location: http://pacs:8042/admin\r\n", Some("")),
        ] {
            let headers = format!("{headers}\r\n");
            let rewritten = urls().rewrite(headers.as_bytes()).map(|text| String::from_utf8(text).unwrap());
            assert_eq!(rewritten, expected.map(|expected| format!("{expected}\r\n")), "{headers}");
        }
    }

    #[test]
    fn the_length_of_headers_is_preserved_by_spaces() {
        let body = b"--B\r\nContent-Type: a/b; x=1\r\nContent-Location: http://pacs:8042/dicom-web/studies/1.2\r\nX: a\r\n //inner/\r\n\r\nx\r\n--B\r\nX: y\r\n\r\n\r\n--B--\r\nend";
        for size in 1..=body.len() {
            let mut parts = parts(Some("B"));
            parts.headers_mut().preserve_length();
            parts.preserve_length();
            let rewritten = rewrite(parts, body, size).unwrap();
            assert_eq!(rewritten.len(), body.len(), "{size}");
            let text = String::from_utf8(rewritten).unwrap();
            let trimmed: Vec<_> = text.lines().map(str::trim_end).collect();
            assert_eq!(
                trimmed,
                [
                    "--B",
                    "Content-Type: a/b",
                    "Content-Location: https://gw/dicom-web/main/studies/1.2",
                    "",
                    "x",
                    "--B",
                    "X:",
                    "",
                    "",
                    "--B--",
                    ""
                ],
                "{size}"
            );
        }
    }

    #[test]
    fn the_beginning_is_kept_if_the_headers_of_the_first_part_do_not_change() {
        let keeps = |start: &[u8]| urls().keeps_beginning(start, "B");
        assert!(keeps(b"--B\r\nContent-Type: application/dicom\r\n\r\nhttp://data"));
        assert!(keeps(b"--B\r\n\r\nhttp://data"));
        assert!(!keeps(b"--B\r\nContent-Location: http://a/\r\n\r\n"));
        assert!(!keeps(b"--B\r\nX: y\r\n\r\n"));
        assert!(!keeps(b"preamble\r\n--B\r\n\r\n"));
        assert!(
            !keeps(b"--B\r\nContent-Type: application/dicom\r\n"),
            "truncated: another header may follow"
        );
    }

    #[test]
    fn more_parts_than_the_maximum_are_an_error() {
        let part = "--B\r\n\r\nx\r\n";
        for (count, max, is_allowed) in
            [(1, Some(1), true), (2, Some(1), false), (2, Some(2), true), (9, None, true)]
        {
            let body = format!("{}--B--\r\n", part.repeat(count));
            for size in [1, 7, body.len()] {
                let rewritten = rewrite(parts(Some("B")).with_max_parts(max), body.as_bytes(), size);
                assert_eq!(rewritten.is_ok(), is_allowed, "{count} {max:?}");
                assert!(is_allowed || rewritten == Err(MultipartError::SeveralParts));
            }
        }
    }

    #[test]
    fn a_body_truncated_at_any_byte_is_incomplete() {
        let whole = BODY.len() - 2;
        for length in (1..whole).filter(|length| *length != "preamble\r\n".len()) {
            for size in [1, 5, BODY.len()] {
                let truncated = rewrite(parts(Some("B")), &BODY[..length], size);
                assert_eq!(truncated, Err(MultipartError::Incomplete), "{length} in chunks of {size}");
            }
        }
        assert!(rewrite(parts(Some("B")), &BODY[..whole], 7).is_ok());
    }

    #[test]
    fn a_body_without_parts_is_reported_as_such_for_all_chunk_sizes() {
        for body in
            ["", "--B--", "--B--\r\n", "preamble\r\n--B--\r\nepilogue", "\r\n--B--\r\n--B\r\n\r\nx\r\n--B--"]
        {
            for size in 1..=body.len().max(1) {
                let rewritten = rewrite(parts(Some("B")), body.as_bytes(), size);
                assert_eq!(rewritten, Err(MultipartError::NoParts), "{body:?} in chunks of {size}");
            }
        }
        assert_eq!(rewrite(parts(None), b"", 1), Err(MultipartError::NoParts));
    }

    #[test]
    fn a_boundary_that_is_not_in_the_content_type_is_read_from_the_first_line() {
        let body = &BODY["preamble\r\n".len()..];
        let after = REWRITTEN_BODY;
        for size in [1, 2, 3, body.len()] {
            assert_eq!(rewrite(parts(None), body, size).unwrap(), after, "{size}");
        }
        assert_eq!(rewrite(parts(None), &body[..body.len() - 6], 4), Err(MultipartError::Incomplete));
    }

    #[test]
    fn a_boundary_is_found_after_empty_lines_and_a_preamble_or_the_body_is_rejected() {
        for before in ["\r\n", "\n\n", "preamble\r\n", "- x\r\n-- \r\n\r\n"] {
            let body = [before.as_bytes(), &BODY["preamble\r\n".len()..]].concat();
            let after = REWRITTEN_BODY;
            for size in [1, 2, 3, body.len()] {
                assert_eq!(rewrite(parts(None), &body, size).unwrap(), after, "{before:?}");
            }
            for length in 0..body.len() - 2 {
                assert!(rewrite(parts(None), &body[..length], 7).is_err(), "{before:?} {length}");
            }
        }
        let long = format!("--{}\r\n\r\nx", "B".repeat(300));
        let endless = "preamble\r\n".repeat(2 * MAX_HEADERS / 10);
        for body in ["no multipart at all", &long, &endless] {
            for size in [4, body.len()] {
                let rejected = rewrite(parts(None), body.as_bytes(), size);
                assert_eq!(rejected, Err(MultipartError::NoBoundary), "{body:.20}");
            }
        }
    }

    #[test]
    fn endless_headers_are_an_error() {
        let body = format!("--B\r\nX: {}", "a".repeat(2 * MAX_HEADERS));
        assert_eq!(rewrite(parts(Some("B")), body.as_bytes(), 1000), Err(MultipartError::HeadersTooLong));
    }

    #[test]
    fn a_missing_closing_delimiter_is_added_if_the_profile_allows_it() {
        let rewrite = |body: &[u8], size| rewrite(PartHeaders::new(urls(), Some("B"), true), body, size);
        let whole = b"--B\r\n\r\nx\r\n--B--\r\n";
        for size in [1, 3, 100] {
            for length in b"--B\r\n\r\nx\r\n-".len()..b"--B\r\n\r\nx\r\n--B--".len() {
                assert_eq!(rewrite(&whole[..length], size).unwrap(), whole, "{length} in chunks of {size}");
            }
            assert_eq!(rewrite(b"--B\r\n\r\nx", size).unwrap(), whole);
            assert_eq!(rewrite(b"--B\r\n\r\nx-", size).unwrap(), b"--B\r\n\r\nx-\r\n--B--\r\n");
            assert_eq!(rewrite(whole, size).unwrap(), whole);
            for truncated in ["--B", "--B\r\nA: b", "--B\r\nContent-Length: 5\r\n\r\nx"] {
                assert_eq!(
                    rewrite(truncated.as_bytes(), size),
                    Err(MultipartError::Incomplete),
                    "{truncated:?}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn the_result_does_not_depend_on_the_chunks(
            pieces in prop::collection::vec("--B|--|\r\n|\n|\r|B|x|Content-Location: http://pacs:8042/dicom-web/studies/1|: http://x/| ", 0..30),
            size in 1usize..20,
        ) {
            let body = pieces.concat();
            let whole = rewrite(parts(Some("B")), body.as_bytes(), body.len().max(1));
            prop_assert_eq!(rewrite(parts(Some("B")), body.as_bytes(), size), whole.clone());
            prop_assert_eq!(rewrite(parts(Some("B")), body.as_bytes(), 1), whole);
        }

        #[test]
        fn parts_without_urls_are_unchanged(
            data in prop::collection::vec(any::<u8>(), 0..300), size in 1usize..50,
        ) {
            let mut body = b"--B\r\nContent-Type: application/dicom\r\n\r\n".to_vec();
            body.extend_from_slice(&data);
            body.extend_from_slice(b"\r\n--B--\r\n");
            prop_assert_eq!(rewrite(parts(Some("B")), &body, size).unwrap(), body);
        }
    }
}

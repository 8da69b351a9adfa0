//! Rewrites URLs in the headers of parts (RFC 2046 5.1): rewrites Content-Location, and removes other headers with a host.

use memchr::memmem;

use super::url_map::{UrlMap, UrlRewrite};
use http_messages::multipart::MAX_HEADERS;
use http_messages::multipart::header_rewriter::{HeaderRewriter, RewriteHeaders};

/// The rewriter of URLs in the headers of the parts of a multipart body.
pub(crate) type PartHeaders = HeaderRewriter<PartUrls>;

/// Replaces URLs in the headers of a part.
#[derive(Debug)]
pub(crate) struct PartUrls {
    urls: UrlMap,
    /// Whether the response has a Content-Length. If it has, URLs of the archive are replaced by spaces.
    preserves_length: bool,
}

impl PartUrls {
    /// Creates a rewriter that does not preserve the length of the headers.
    pub(crate) fn new(urls: UrlMap) -> Self {
        Self { urls, preserves_length: false }
    }

    /// Preserves the length of the body, by replacing URLs with spaces.
    pub(crate) fn preserve_length(&mut self) {
        self.preserves_length = true;
    }
}

impl RewriteHeaders for PartUrls {
    fn rewrite(&self, headers: &[u8]) -> Option<Vec<u8>> {
        let mut is_changed = false;
        let mut output = Vec::with_capacity(headers.len() + 64);
        for line in headers.split_inclusive(|byte| *byte == b'\n') {
            // A line without a field name continues the previous line, or is invalid. It may contain a URL too.
            let (name, rest) = match memchr::memchr(b':', line) {
                Some(colon) => (&line[..colon], &line[colon + 1..]),
                None => (&line[..0], line),
            };
            let value = String::from_utf8_lossy(rest);
            let rewrite = if name.trim_ascii().eq_ignore_ascii_case(b"content-location") {
                self.urls.rewrite(value.trim())
            } else if value.contains("//") {
                UrlRewrite::Dropped
            } else {
                UrlRewrite::Unchanged
            };
            match rewrite {
                UrlRewrite::Unchanged => {
                    output.extend_from_slice(line);
                    continue;
                }
                UrlRewrite::Dropped | UrlRewrite::Rewritten(_) if self.preserves_length => {
                    let name_len = line.len() - rest.len();
                    let end = line.trim_ascii_end().len();
                    output.extend_from_slice(&line[..name_len]);
                    output.resize(output.len() + end.saturating_sub(name_len), b' ');
                    output.extend_from_slice(&line[end.max(name_len)..]);
                }
                UrlRewrite::Dropped => {}
                UrlRewrite::Rewritten(url) => {
                    output.extend_from_slice(b"Content-Location: ");
                    // A path of the archive may contain a line break.
                    output.extend(url.bytes().filter(|byte| matches!(byte, b'!'..=b'~')));
                    output.extend_from_slice(b"\r\n");
                }
            }
            is_changed = true;
        }
        is_changed.then_some(output)
    }
}

/// Whether the headers of the first part contain a URL, or are incomplete. `start` is the start of the body.
pub(crate) fn may_have_urls(start: &[u8]) -> bool {
    let headers = start.get(..MAX_HEADERS).unwrap_or(start);
    match memmem::find(headers, b"\r\n\r\n") {
        Some(end) => memmem::find(&headers[..end], b"//").is_some(),
        None => true,
    }
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
    const REWRITTEN_BODY: &[u8] = b"preamble\r\n--B\r\nContent-Type: application/octet-stream; x=a/b\r\nContent-Location: https://gw/dicom-web/main/studies/1.2\r\n\r\n\x00\xFF--B\r\n-\r\n--Bx\r\n--\r\n--B\r\n\r\n\r\n\r\n--B--\r\n";

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
            for length in 0..whole {
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
    fn urls_are_replaced_by_spaces_if_the_length_is_preserved() {
        let body = b"--B\r\nContent-Location: http://pacs:8042/dicom-web/studies/1.2\r\nX: a\r\n //inner/\r\n\r\nx\r\n--B--\r\n";
        let spaces = " ".repeat(" http://pacs:8042/dicom-web/studies/1.2".len());
        let after = format!("--B\r\nContent-Location:{spaces}\r\nX: a\r\n         \r\n\r\nx\r\n--B--\r\n");
        for size in 1..=body.len() {
            let mut parts = parts(Some("B"));
            parts.headers_mut().preserve_length();
            let rewritten = rewrite(parts, body, size).unwrap();
            assert_eq!(String::from_utf8_lossy(&rewritten), after, "{size}");
        }
    }

    #[test]
    fn urls_in_headers_are_detected_in_the_first_part() {
        assert!(!may_have_urls(b"--B\r\nContent-Type: application/dicom\r\n\r\nhttp://data"));
        assert!(may_have_urls(b"--B\r\nContent-Location: http://a/\r\n\r\n"));
        assert!(may_have_urls(b"--B\r\nContent-Type: application/dicom\r\n"), "truncated: a URL may follow");
    }

    #[test]
    fn a_body_truncated_at_any_byte_is_incomplete() {
        let whole = BODY.len() - 2;
        for length in 0..whole {
            for size in [1, 5, BODY.len()] {
                let truncated = rewrite(parts(Some("B")), &BODY[..length], size);
                assert_eq!(truncated, Err(MultipartError::Incomplete), "{length} in chunks of {size}");
            }
        }
        assert!(rewrite(parts(Some("B")), &BODY[..whole], 7).is_ok());
    }

    #[test]
    fn a_boundary_that_is_not_in_the_content_type_is_read_from_the_first_line() {
        let body = &BODY["preamble\r\n".len()..];
        let after = &REWRITTEN_BODY["preamble\r\n".len()..];
        for size in [1, 2, 3, body.len()] {
            assert_eq!(rewrite(parts(None), body, size).unwrap(), after, "{size}");
        }
        assert_eq!(rewrite(parts(None), &body[..body.len() - 6], 4), Err(MultipartError::Incomplete));
    }

    #[test]
    fn a_boundary_is_found_after_empty_lines_and_a_preamble_or_the_body_is_rejected() {
        for before in ["\r\n", "\n\n", "preamble\r\n", "- x\r\n-- \r\n\r\n"] {
            let body = [before.as_bytes(), &BODY["preamble\r\n".len()..]].concat();
            let after = [before.as_bytes(), &REWRITTEN_BODY["preamble\r\n".len()..]].concat();
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
            for truncated in ["", "--B", "--B\r\nA: b", "--B\r\nContent-Length: 5\r\n\r\nx"] {
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
            body.extend_from_slice(b"\r\n--B--");
            prop_assert_eq!(rewrite(parts(Some("B")), &body, size).unwrap(), body);
        }
    }
}

//! Multipart bodies (RFC 2046 5.1): chunks do not change the parts, no part contains a delimiter, writing and reading the parts does
//! not change them, and rewriting the headers changes nothing else.

use bytes::Bytes;
use http_messages::multipart::MultipartError;
use http_messages::multipart::header_rewriter::{HeaderRewriter, RewriteHeaders};
use http_messages::multipart::only_part::SinglePart;
use http_messages::multipart::reader::{PartEvent, PartReader};
use http_messages::multipart::writer::PartWriter;

use crate::chunks::split_in_several_ways;

/// The boundary of all bodies. It repeats its own beginning, so the fuzzer easily generates incomplete delimiters.
const BOUNDARY: &str = "-ab-ab";

/// The boundary of written bodies: libFuzzer does not generate one of this length by chance.
const WRITTEN_BOUNDARY: &str = "0f8e7d6c5b4a39281706f5e4d3c2b1a0";

/// Checks one body.
pub fn check(body: &[u8]) {
    let whole = read_parts(BOUNDARY, &[body]);
    let only_part = read_only_part(&[body]);
    let (unchanged, replaced) = (rewrite(KeepHeaders, &[body]), rewrite(ReplaceHeaders, &[body]));
    for chunks in split_in_several_ways(body) {
        assert_eq!(read_parts(BOUNDARY, &chunks), whole, "the chunks change the parts");
        assert_eq!(read_only_part(&chunks), only_part, "the chunks change the only part");
        assert_eq!(
            rewrite(KeepHeaders, &chunks),
            unchanged,
            "the chunks change a body with unchanged headers"
        );
        assert_eq!(
            rewrite(ReplaceHeaders, &chunks),
            replaced,
            "the chunks change a body with replaced headers"
        );
    }
    if let (Ok(unchanged), Ok(parts)) = (&unchanged, &whole) {
        let read = read_parts(BOUNDARY, &[unchanged]);
        assert_eq!(read.as_ref(), Ok(parts), "a body without replaced headers has other parts");
    }
    match (&whole, only_part) {
        (Ok(parts), Ok(part)) => assert_eq!(parts, &[part], "the body does not consist of the only part"),
        (Ok(parts), Err(error)) => {
            assert!(
                parts.len() != 1 && error == MultipartError::SeveralParts,
                "the only part is rejected: {error}"
            );
        }
        (Err(_), Ok(_)) => panic!("a part of a malformed body is accepted"),
        (Err(_), Err(_)) => {}
    }
    let Ok(parts) = whole else { return };
    for part in &parts {
        let start = [b"\r\n--", BOUNDARY.as_bytes(), b"\r\n"].concat();
        assert_eq!(memchr::memmem::find(part, &start), None, "a part contains a delimiter");
    }
    if memchr::memmem::find(body, WRITTEN_BOUNDARY.as_bytes()).is_none() {
        assert_eq!(
            read_parts(WRITTEN_BOUNDARY, &[&write_parts(&parts)]).as_ref(),
            Ok(&parts),
            "writing and reading changes the parts"
        );
    }
}

fn read_parts(boundary: &str, chunks: &[&[u8]]) -> Result<Vec<Vec<u8>>, MultipartError> {
    let mut reader = PartReader::new(boundary);
    let (mut parts, mut open_part) = (Vec::new(), None);
    let mut handle = |event| match event {
        PartEvent::Begin => {
            assert!(open_part.replace(Vec::new()).is_none(), "a part begins inside another part")
        }
        PartEvent::Data(bytes) => open_part.as_mut().expect("the part has begun").extend_from_slice(&bytes),
        PartEvent::End => parts.push(open_part.take().expect("the part has begun")),
    };
    for chunk in chunks {
        reader.push(Bytes::copy_from_slice(chunk), &mut handle)?;
    }
    reader.finish(&mut handle)?;
    assert_eq!(open_part, None, "a complete body ends inside a part");
    Ok(parts)
}

fn read_only_part(chunks: &[&[u8]]) -> Result<Vec<u8>, MultipartError> {
    let mut reader = SinglePart::new(BOUNDARY);
    let mut part = Vec::new();
    for chunk in chunks {
        part.extend_from_slice(&reader.push(Bytes::copy_from_slice(chunk))?);
    }
    part.extend_from_slice(&reader.finish()?);
    Ok(part)
}

fn write_parts(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut writer = PartWriter::with_boundary(WRITTEN_BOUNDARY);
    let mut body = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let location = (index % 2 == 0).then_some("/studies/1.2");
        body.extend_from_slice(writer.begin_part("application/dicom", location).as_bytes());
        body.extend_from_slice(part);
    }
    body.extend_from_slice(writer.end().as_bytes());
    body
}

/// Changes no headers.
struct KeepHeaders;

impl RewriteHeaders for KeepHeaders {
    fn rewrite(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

/// Replaces the headers of every part.
struct ReplaceHeaders;

impl RewriteHeaders for ReplaceHeaders {
    fn rewrite(&self, _: &[u8]) -> Option<Vec<u8>> {
        Some(b"Content-Type: application/dicom\r\n\r\n".to_vec())
    }
}

fn rewrite(headers: impl RewriteHeaders, chunks: &[&[u8]]) -> Result<Vec<u8>, MultipartError> {
    let mut rewriter = HeaderRewriter::new(headers, Some(BOUNDARY), false);
    let mut body = Vec::new();
    for chunk in chunks {
        body.extend_from_slice(&rewriter.push(Bytes::copy_from_slice(chunk))?);
    }
    body.extend_from_slice(&rewriter.finish()?);
    Ok(body)
}

//! Multipart bodies (RFC 2046 5.1): the same parts for every chunking, as a plain search for the delimiter finds them, and the same
//! after they were written again; what rewrites headers leaves all else as it is.

use bytes::Bytes;
use http_messages::multipart::MultipartError;
use http_messages::multipart::header_rewriter::{HeaderRewriter, RewriteHeaders};
use http_messages::multipart::only_part::SinglePart;
use http_messages::multipart::reader::{PartEvent, PartReader};
use http_messages::multipart::writer::PartWriter;

use crate::chunks::cuts;

/// The boundary of all bodies: one that holds its own beginning, so that there are many places where it only seems to be.
const BOUNDARY: &str = "-ab-ab";

/// Of what is written again: longer than what libFuzzer comes upon.
const OTHER_BOUNDARY: &str = "0f8e7d6c5b4a39281706f5e4d3c2b1a0";

/// Checks one body.
pub fn check(body: &[u8]) {
    let whole = read(BOUNDARY, &[body]);
    let only = only_part(&[body]);
    let (kept, renamed) = (rewritten(Keep, &[body]), rewritten(Rename, &[body]));
    for chunks in cuts(body) {
        assert_eq!(read(BOUNDARY, &chunks), whole, "the chunks change the parts");
        assert_eq!(only_part(&chunks), only, "the chunks change the only part");
        assert_eq!(rewritten(Keep, &chunks), kept, "the chunks change what is left as it is");
        assert_eq!(rewritten(Rename, &chunks), renamed, "the chunks change the headers that are written");
    }
    if let Ok(kept) = kept {
        assert_eq!(kept, body, "nothing was to be rewritten");
    }
    match (&whole, only) {
        (Ok(parts), Ok(part)) => assert_eq!(parts, &[part], "the only part is not the only one"),
        (Ok(parts), Err(error)) => {
            assert!(
                parts.len() != 1 && error == MultipartError::SeveralParts,
                "{error}: the only part is not given"
            );
        }
        (Err(_), Ok(_)) => panic!("a part of a broken body is given as a whole one"),
        (Err(_), Err(_)) => {}
    }
    let Ok(parts) = whole else { return };
    for part in &parts {
        let start = [b"\r\n--", BOUNDARY.as_bytes(), b"\r\n"].concat();
        assert_eq!(memchr::memmem::find(part, &start), None, "a delimiter is within a part");
    }
    if memchr::memmem::find(body, OTHER_BOUNDARY.as_bytes()).is_none() {
        assert_eq!(
            read(OTHER_BOUNDARY, &[&written(&parts)]).as_ref(),
            Ok(&parts),
            "parts that were written are others"
        );
    }
}

fn read(boundary: &str, chunks: &[&[u8]]) -> Result<Vec<Vec<u8>>, MultipartError> {
    let mut reader = PartReader::new(boundary);
    let (mut parts, mut open) = (Vec::new(), None);
    let mut each = |event| match event {
        PartEvent::Begin => assert!(open.replace(Vec::new()).is_none(), "a part begins inside of another"),
        PartEvent::Data(bytes) => open.as_mut().expect("the part has begun").extend_from_slice(&bytes),
        PartEvent::End => parts.push(open.take().expect("the part has begun")),
    };
    for chunk in chunks {
        reader.push(Bytes::copy_from_slice(chunk), &mut each)?;
    }
    reader.finish(&mut each)?;
    assert_eq!(open, None, "a whole body ends inside of a part");
    Ok(parts)
}

fn only_part(chunks: &[&[u8]]) -> Result<Vec<u8>, MultipartError> {
    let mut reader = SinglePart::new(BOUNDARY);
    let mut part = Vec::new();
    for chunk in chunks {
        part.extend_from_slice(&reader.push(Bytes::copy_from_slice(chunk))?);
    }
    part.extend_from_slice(&reader.finish()?);
    Ok(part)
}

fn written(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut writer = PartWriter::with_boundary(OTHER_BOUNDARY);
    let mut body = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let location = (index % 2 == 0).then_some("/studies/1.2");
        body.extend_from_slice(writer.begin_part("application/dicom", location).as_bytes());
        body.extend_from_slice(part);
    }
    body.extend_from_slice(writer.end().as_bytes());
    body
}

/// Leaves all headers as they are.
struct Keep;

impl RewriteHeaders for Keep {
    fn rewrite(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

/// Gives all parts the same headers.
struct Rename;

impl RewriteHeaders for Rename {
    fn rewrite(&self, _: &[u8]) -> Option<Vec<u8>> {
        Some(b"Content-Type: application/dicom\r\n\r\n".to_vec())
    }
}

fn rewritten(headers: impl RewriteHeaders, chunks: &[&[u8]]) -> Result<Vec<u8>, MultipartError> {
    let mut rewriter = HeaderRewriter::new(headers, Some(BOUNDARY), false);
    let mut body = Vec::new();
    for chunk in chunks {
        body.extend_from_slice(&rewriter.push(Bytes::copy_from_slice(chunk))?);
    }
    body.extend_from_slice(&rewriter.finish()?);
    Ok(body)
}

//! Reads the first bytes of an archive's body before the response is built, because they identify the content more reliably than the
//! Content-Type does.

use std::future::poll_fn;

use bytes::Bytes;
use memchr::memmem;

use super::stream::ByteSource;
use super::stream_error::StreamError;
use super::xml_parts::{is_empty_list, without_byte_order_mark};
use crate::dicomweb::error::DicomwebError;
use crate::upstream::Archive;
use dicom_model::SopInstanceUid;
use dicom_model::json::reader::RowError;

/// Maximum length in bytes of the white space before the first row of a list.
const MAX_LEADING_WHITE_SPACE: usize = 4 * 1024;

/// Maximum length in bytes of the file meta information, which contains the SOP Instance UID (PS3.10 7.1).
const MAX_FILE_META_LEN: usize = 4 * 1024;

/// Reads the next piece of a body; the piece is empty at the end of the body.
pub(crate) async fn next_piece(archive: &Archive, source: &mut ByteSource) -> Result<Bytes, DicomwebError> {
    match poll_fn(|context| source.poll_piece(context)).await {
        None => Ok(Bytes::new()),
        Some(Ok(piece)) => Ok(piece),
        Some(Err(StreamError::Archive(error))) => Err(error.into()),
        Some(Err(_)) => Err(archive.unreadable("a malformed gzip body").into()),
    }
}

/// Reads the beginning of a body that may be gzip or text. It identifies the content unless the body ends before.
pub(crate) async fn read_identifying_start(
    archive: &Archive,
    source: &mut ByteSource,
) -> Result<Bytes, DicomwebError> {
    let mut start = next_piece(archive, source).await?;
    while !is_identifying(&start) && start.len() < MAX_LEADING_WHITE_SPACE {
        let piece = next_piece(archive, source).await?;
        if piece.is_empty() {
            break;
        }
        start = [start, piece].concat().into();
    }
    Ok(start)
}

/// Whether a body that begins with `start`, which is not empty, can be identified: it is not the beginning of a byte order mark or of
/// gzip, nor only white space, nor a part of a document type declaration.
fn is_identifying(start: &[u8]) -> bool {
    let text = without_byte_order_mark(start).map(<[u8]>::trim_ascii_start);
    start.is_empty()
        || start != b"\x1F"
            && text.is_some_and(|text| {
                !text.is_empty() && (!text.starts_with(b"<") || text.len() >= b"<!doctype".len())
            })
}

/// Appends pieces to `start`, the beginning of a list, until it shows whether the list has a row. Returns the beginning of a list with a
/// row, and `None` for an empty list, which is read to its end.
pub(crate) async fn read_to_first_row(
    archive: &Archive,
    mut start: Bytes,
    source: &mut ByteSource,
) -> Result<Option<Bytes>, DicomwebError> {
    let mut is_empty = is_empty_list(&start);
    while is_empty != Some(false) && start.len() < MAX_LEADING_WHITE_SPACE {
        let piece = next_piece(archive, source).await?;
        if piece.is_empty() {
            break;
        }
        start = [start, piece].concat().into();
        is_empty = is_empty_list(&start);
    }
    if is_empty != Some(true) {
        return Ok(Some(start));
    }
    let list = without_byte_order_mark(&start).unwrap_or_default();
    if list.iter().filter(|byte| !byte.is_ascii_whitespace()).eq(b"[]") {
        Ok(None)
    } else {
        Err(archive.error(RowError::Trailing).into())
    }
}

/// Reads the beginning of an anonymized object, with the file meta information. An anonymized object has a new UID (PS3.15 E.1.1).
/// Some archives ignore the parameter `anonymize` and send the original with the patient's name, which is rejected.
pub(crate) async fn read_start_of_anonymized(
    archive: &Archive,
    instance: &SopInstanceUid,
    source: &mut ByteSource,
) -> Result<Bytes, DicomwebError> {
    let mut start = Bytes::new();
    while start.len() < MAX_FILE_META_LEN {
        let piece = next_piece(archive, source).await?;
        if piece.is_empty() {
            break;
        }
        start = if start.is_empty() { piece } else { [start, piece].concat().into() };
    }
    if memmem::find(&start, instance.as_str().as_bytes()).is_some() {
        return Err(DicomwebError::NotAnonymized(archive.id().clone()));
    }
    Ok(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_identifies_the_body_unless_more_bytes_can_change_what_it_is() {
        for (start, is_enough) in [
            (&b"\xEF"[..], false),
            (b"\xEF\xBB", false),
            (b"\xEF\xBB\xBF", false),
            (b"\xEF\xBB\xBF \n", false),
            (b"\xEF\xBB\xBF[", true),
            (b"\xEFx", true),
            (b"\x1F", false),
            (b"\x1F\x8B", true),
            (b" \r\n", false),
            (b"<", false),
            (b"<!doctyp", false),
            (b"<!doctype", true),
            (b" [", true),
            (b"{", true),
            (b"", true),
        ] {
            assert_eq!(is_identifying(start), is_enough, "{start:?}");
        }
    }
}

//! Reads the first bytes of an archive's body before the response is built, because they identify the content more reliably than the
//! Content-Type does.

use std::future::poll_fn;

use bytes::Bytes;
use memchr::memmem;

use super::stream::ByteSource;
use super::stream_error::StreamError;
use super::xml_parts::is_empty_list;
use crate::dicomweb::error::DicomwebError;
use crate::upstream::Archive;
use dicom_model::SopInstanceUid;

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

/// Appends pieces to `start`, the beginning of a list, until it shows whether the list has a row.
pub(crate) async fn read_to_first_row(
    archive: &Archive,
    mut start: Bytes,
    source: &mut ByteSource,
) -> Result<Bytes, DicomwebError> {
    while is_empty_list(&start).is_none() && start.len() < MAX_LEADING_WHITE_SPACE {
        let piece = next_piece(archive, source).await?;
        if piece.is_empty() {
            break;
        }
        start = [start, piece].concat().into();
    }
    Ok(start)
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

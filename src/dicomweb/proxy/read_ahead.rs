//! Reads the first bytes of an archive's body before the response is decided: they identify the content more reliably than its
//! Content-Type.

use std::future::poll_fn;

use bytes::Bytes;
use memchr::memmem;

use super::stream::ByteSource;
use super::stream_error::StreamError;
use super::xml_parts::is_empty_list;
use crate::dicomweb::error::DicomwebError;
use crate::upstream::Archive;
use dicom_model::SopInstanceUid;

/// Maximum white space before the first row of a list.
const MAX_BEGINNING_LEN: usize = 4 * 1024;

/// Maximum size of the file meta information, which contains the SOP Instance UID (PS3.10 7.1).
const FILE_META_LEN: usize = 4 * 1024;

/// The next piece of the body, empty at its end. Archives that fail often respond with 200 and a body that is not DICOM.
pub(crate) async fn first_piece(archive: &Archive, source: &mut ByteSource) -> Result<Bytes, DicomwebError> {
    match poll_fn(|context| source.poll_piece(context)).await {
        None => Ok(Bytes::new()),
        Some(Ok(piece)) => Ok(piece),
        Some(Err(StreamError::Archive(error))) => Err(error.into()),
        Some(Err(_)) => Err(archive.unreadable("a gzip body that is broken").into()),
    }
}

/// Reads on from `start` until it is clear whether the list has a row: an empty list has no XML.
pub(crate) async fn to_first_row(
    archive: &Archive,
    mut start: Bytes,
    source: &mut ByteSource,
) -> Result<Bytes, DicomwebError> {
    while is_empty_list(&start).is_none() && start.len() < MAX_BEGINNING_LEN {
        let piece = first_piece(archive, source).await?;
        if piece.is_empty() {
            break;
        }
        start = [start, piece].concat().into();
    }
    Ok(start)
}

/// The beginning of an anonymized object, with its file meta information. An anonymized object has a new UID (PS3.15 E.1.1); an
/// archive that ignores the parameter sends the original with the patient's name, which is rejected.
pub(crate) async fn start_of_anonymized(
    archive: &Archive,
    instance: &SopInstanceUid,
    source: &mut ByteSource,
) -> Result<Bytes, DicomwebError> {
    let mut start = Bytes::new();
    while start.len() < FILE_META_LEN {
        let piece = first_piece(archive, source).await?;
        if piece.is_empty() {
            break;
        }
        start = if start.is_empty() { piece } else { [start, piece].concat().into() };
    }
    if memmem::find(&start, instance.as_str().as_bytes()).is_some() {
        return Err(DicomwebError::NotAnonymous(archive.id().clone()));
    }
    Ok(start)
}

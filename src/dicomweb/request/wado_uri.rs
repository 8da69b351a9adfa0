//! The URI service (PS3.18 chapter 9), `/dicom-web/{archive}/wado` and `/dicom-web/wado`, where an archive has one: the query
//! read into typed parts.
//!
//! As in searches, what is not known here is refused, as an archive would ignore it, and each parameter may stand once.

use bytes::Bytes;
use memchr::memmem;

use super::path::Resource;
use super::query::QueryError;
use crate::dicomweb::error::DicomwebError;
use crate::dicomweb::proxy::response::first_piece;
use crate::dicomweb::proxy::stream::ByteSource;
use crate::upstream::{Archive, WadoUri, WadoUriError};
use dicom_model::{SeriesUid, SopInstanceUid, StudyUid};

/// The path below `/dicom-web/{archive}/`, and below `/dicom-web/` for every archive.
pub(crate) const PATH: &str = "wado";

/// The file meta information of an object, which names it, ends before (PS3.10 7.1).
const FILE_META: usize = 4 * 1024;

/// Reads the decoded query.
pub(crate) fn read(pairs: &[(String, String)]) -> Result<WadoUri, QueryError> {
    let required = |name: &'static str| {
        let mut given = pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        match (given.next(), given.next()) {
            (Some(value), None) => Ok(value),
            (Some(_), Some(_)) => Err(QueryError::Twice(name.to_owned())),
            (None, _) => Err(QueryError::Missing(name)),
        }
    };
    let not_a_uid = |name| move |_| QueryError::value(name, "a UID (PS3.5 9.1)");
    if required("requestType")? != "WADO" {
        return Err(QueryError::value("requestType", "\"WADO\""));
    }
    let object = WadoUri::new(
        StudyUid::parse(required("studyUID")?).map_err(not_a_uid("studyUID"))?,
        SeriesUid::parse(required("seriesUID")?).map_err(not_a_uid("seriesUID"))?,
        SopInstanceUid::parse(required("objectUID")?).map_err(not_a_uid("objectUID"))?,
    );
    let mut further = pairs
        .iter()
        .filter(|(key, _)| !matches!(key.as_str(), "requestType" | "studyUID" | "seriesUID" | "objectUID"));
    let object = further.try_fold(object, |object, (key, value)| {
        object.with(key, value).map_err(|error| refused(key, error))
    })?;
    object.checked().map_err(|(key, error)| refused(key, error))
}

/// The object or the picture that `object` asks for.
pub(crate) fn resource(object: &WadoUri) -> Resource {
    if object.is_drawn() { Resource::Rendered(object.objects()) } else { Resource::Whole(object.objects()) }
}

/// Reads ahead as far as the file meta information goes. An anonymous object is a new one and has a UID of its own (PS3.15
/// E.1.1); an archive that does not know the parameter sends the object as it is, with the patient's name.
pub(crate) async fn anonymous_start(
    archive: &Archive,
    instance: &SopInstanceUid,
    source: &mut ByteSource,
) -> Result<Bytes, DicomwebError> {
    let mut start = Bytes::new();
    while start.len() < FILE_META {
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

fn refused(key: &str, error: WadoUriError) -> QueryError {
    match error {
        WadoUriError::Unknown => QueryError::UnknownKey(QueryError::shown(key)),
        WadoUriError::Twice => QueryError::Twice(QueryError::shown(key)),
        WadoUriError::Value => QueryError::value(key, "as PS3.18 9.4.1.2 writes it"),
        WadoUriError::OtherPurpose => {
            QueryError::value(key, "left out, as it does not go with the contentType that is asked for")
        }
        WadoUriError::Alone(other) => QueryError::Alone(QueryError::shown(key), other),
    }
}

//! The URI service (PS3.18 chapter 9), `/dicom-web/{archive}/wado` and `/dicom-web/wado`, where an archive has one: the query
//! read into typed parts.
//!
//! Unknown parameters are omitted, as in other retrievals, and each known one may be given only once.

use super::path::Resource;
use super::query::QueryError;
use crate::upstream::{WadoUri, WadoUriError};
use dicom_model::{SeriesUid, SopInstanceUid, StudyUid};

/// Reads the decoded query.
pub(crate) fn read(pairs: &[(String, String)]) -> Result<WadoUri, QueryError> {
    let required = |name: &'static str| {
        let mut values = pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        match (values.next(), values.next()) {
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
    let object = further.try_fold(object, |object, (key, value)| match object.clone().with(key, value) {
        Err(WadoUriError::Unknown) => Ok(object),
        object => object.map_err(|error| query_error(key, error)),
    })?;
    object.checked().map_err(|(key, error)| query_error(key, error))
}

/// The object or the rendered image that `object` asks for.
pub(crate) fn resource(object: &WadoUri) -> Resource {
    if object.is_rendered() {
        Resource::Rendered(object.objects())
    } else {
        Resource::Whole(object.objects())
    }
}

fn query_error(key: &str, error: WadoUriError) -> QueryError {
    match error {
        WadoUriError::Unknown => QueryError::UnknownKey(QueryError::shown(key)),
        WadoUriError::Twice => QueryError::Twice(QueryError::shown(key)),
        WadoUriError::Value => QueryError::value(key, "as PS3.18 9.4.1.2 defines it"),
        WadoUriError::OtherPurpose => {
            QueryError::value(key, "omitted, because it does not apply to the requested contentType")
        }
        WadoUriError::TooLarge => {
            QueryError::value(key, "at most 8192, and at most 33554432 pixels together")
        }
        WadoUriError::Alone(other) => QueryError::Alone(QueryError::shown(key), other),
    }
}

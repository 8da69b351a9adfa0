//! Parses the query of the URI service (PS3.18 chapter 9), `/dicom-web/{archive}/wado` and `/dicom-web/wado`, which only some
//! archives support.
//!
//! Unknown parameters are omitted, as in other retrievals. A known parameter may occur only once.

use super::path::Resource;
use super::query::QueryError;
use crate::http::query::printable_name;
use crate::upstream::{WadoUri, WadoUriError};
use dicom_model::{SeriesUid, SopInstanceUid, StudyUid, UidRule};

/// Parses the decoded query of a request to archives with `rule`.
pub(crate) fn read(pairs: &[(String, String)], rule: UidRule) -> Result<WadoUri, QueryError> {
    let required_value = |name: &'static str| {
        let mut values = pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        match (values.next(), values.next()) {
            (Some(value), None) => Ok(value),
            (Some(_), Some(_)) => Err(QueryError::Repeated(name.to_owned())),
            (None, _) => Err(QueryError::Missing(name)),
        }
    };
    let not_a_uid = |name| {
        move |_| {
            let expected = "a UID (PS3.5 9.1); lenient_uids = true in the configuration of the archive also allows letters, - and _";
            QueryError::invalid_value(name, expected)
        }
    };
    if required_value("requestType")? != "WADO" {
        return Err(QueryError::invalid_value("requestType", "\"WADO\""));
    }
    let object = WadoUri::new(
        StudyUid::parse_by(rule, required_value("studyUID")?).map_err(not_a_uid("studyUID"))?,
        SeriesUid::parse_by(rule, required_value("seriesUID")?).map_err(not_a_uid("seriesUID"))?,
        SopInstanceUid::parse_by(rule, required_value("objectUID")?).map_err(not_a_uid("objectUID"))?,
    );
    let mut optional_pairs = pairs
        .iter()
        .filter(|(key, _)| !matches!(key.as_str(), "requestType" | "studyUID" | "seriesUID" | "objectUID"));
    let add = |object: WadoUri, (key, value): &(String, String)| match object.clone().with(key, value) {
        Err(WadoUriError::UnknownParameter) => Ok(object),
        object => object.map_err(|error| query_error(key, error)),
    };
    let object = optional_pairs.try_fold(object, add)?;
    object.checked().map_err(|(key, error)| query_error(key, error))
}

/// Returns the resource that `object` requests: a whole object, or a rendered image.
pub(crate) fn resource_of(object: &WadoUri) -> Resource {
    if object.is_rendered() {
        Resource::Rendered(object.instance_resource())
    } else {
        Resource::Whole(object.instance_resource())
    }
}

fn query_error(key: &str, error: WadoUriError) -> QueryError {
    match error {
        WadoUriError::UnknownParameter => QueryError::UnknownKey(printable_name(key)),
        WadoUriError::Repeated => QueryError::Repeated(printable_name(key)),
        WadoUriError::InvalidValue => QueryError::invalid_value(key, "as PS3.18 9.4.1.2 defines it"),
        WadoUriError::ContentTypeMismatch => {
            QueryError::invalid_value(key, "omitted, because it does not apply to the requested contentType")
        }
        WadoUriError::TooLarge => {
            QueryError::invalid_value(key, "at most 8192, and at most 33554432 pixels together")
        }
        WadoUriError::RequiresParameter(other) => QueryError::RequiresOther(printable_name(key), other),
    }
}

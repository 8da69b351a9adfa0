//! Parses the query parameters of retrievals (PS3.18 8.3.3, 8.3.5, 10.4.1.2). Unknown keys are omitted, because they do not widen a
//! retrieval.

use std::collections::BTreeSet;

use super::path::Resource;
use super::query::{CommonParameters, QueryError, parse_search};
use crate::upstream::{DicomResource, Rendering};
use dicom_model::UidRule;

/// The parameter with the sealed query of an archive's URL.
pub(crate) const SEALED_QUERY: &str = "sealed";

/// Maximum number of pixels of all images together that one request renders: 1000 frames of 1024 by 1024 pixels.
const MAX_RENDERED_AREA: u64 = 1 << 30;

/// The parameters of a retrieval.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RetrievalParameters {
    /// How an image is rendered. Other resources have no rendering parameters.
    pub(crate) rendering: Rendering,
    pub(crate) common: CommonParameters,
    /// The sealed query of the archive's URL. Only objects and bulk data have one.
    pub(crate) sealed_query: Option<String>,
}

impl RetrievalParameters {
    /// Parses the decoded query of a retrieval of `resource`. Parameters of other resources are omitted.
    pub(crate) fn parse(resource: &Resource, pairs: &[(String, String)]) -> Result<Self, QueryError> {
        let mut parameters = Self::default();
        let mut keys = BTreeSet::new();
        for (key, value) in pairs {
            if parameters.common.parse(key, value)? {
                continue;
            }
            let is_rendering_parameter =
                resource.has_rendered_media_type() && Rendering::PARAMETERS.contains(&key.as_str());
            let is_sealed_query =
                key == SEALED_QUERY && matches!(resource, Resource::Whole(_) | Resource::Bulkdata(..));
            if !is_rendering_parameter && !is_sealed_query {
                continue;
            }
            if !keys.insert(key.as_str()) {
                return Err(QueryError::Repeated(key.clone()));
            }
            if is_sealed_query {
                parameters.sealed_query = Some(value.clone());
                continue;
            }
            parameters.rendering = parameters
                .rendering
                .with(key, value)
                .ok_or_else(|| QueryError::invalid_value(key, expected_rendering_value(key)))?;
        }
        let frame_count = match resource {
            Resource::Rendered(DicomResource::Frames(.., frames)) => frames.len() as u64,
            _ => 1,
        };
        let viewport = parameters.rendering.viewport();
        if viewport.is_some_and(|viewport| frame_count * viewport.area() > MAX_RENDERED_AREA) {
            let expected = "smaller for so many frames: all images together may have 1073741824 pixels";
            return Err(QueryError::invalid_value("viewport", expected));
        }
        Ok(parameters)
    }
}

/// Checks the decoded query of a request for `resource`, before a request is sent to an archive.
pub(crate) fn check(
    resource: &Resource,
    pairs: &[(String, String)],
    uid_rule: UidRule,
) -> Result<(), QueryError> {
    match resource {
        Resource::Search(level) => parse_search(level.clone(), pairs, uid_rule).map(drop),
        resource => RetrievalParameters::parse(resource, pairs).map(drop),
    }
}

/// Describes the valid values of a rendering parameter (PS3.18 8.3.5.1).
fn expected_rendering_value(key: &str) -> &'static str {
    match key {
        "viewport" => {
            "width,height in whole pixels, each at most 8192 and 33554432 pixels together, perhaps followed by x,y,width,height of a region of the image (PS3.18 8.3.5.1.3)"
        }
        "window" => {
            "center,width,function, with linear, linear-exact or sigmoid as the function and a width that it allows (PS3.18 8.3.5.1.4, PS3.3 C.11.2.1.3): above 0, or at least 1 for linear"
        }
        "quality" => "an integer from 1 to 100 (PS3.18 8.3.5.1.2)",
        "annotation" => "patient, technique, or both separated by a comma (PS3.18 8.3.5.1.1)",
        _ => "no, yes, srgb, adobergb, rommrgb or displayp3 (PS3.18 8.3.5.1.5)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(path: &str, pairs: &[(&str, &str)]) -> Result<RetrievalParameters, QueryError> {
        let pairs: Vec<_> = pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        RetrievalParameters::parse(&Resource::parse(path).unwrap(), &pairs)
    }

    #[test]
    fn only_rendered_resources_have_rendering_parameters() {
        let window = [("window", "40,400,linear"), ("accept", "image/png")];
        let rendered = "studies/1.2/rendered";
        assert_eq!(parse(rendered, &window).unwrap().common.accept.as_deref(), Some("image/png"));
        assert_eq!(parse("studies/1.2", &window).unwrap().rendering, Rendering::default());
        assert_eq!(parse(rendered, &[("token", "x")]).unwrap().rendering, Rendering::default());
        assert!(matches!(parse(rendered, &[("quality", "0")]), Err(QueryError::Value { .. })));
        let twice = [("quality", "1"), ("quality", "2")];
        assert!(matches!(parse(rendered, &twice), Err(QueryError::Repeated(_))));
    }

    #[test]
    fn only_objects_and_bulk_data_have_a_sealed_query() {
        let sealed_query = |path| parse(path, &[("sealed", "x")]).unwrap().sealed_query;
        assert_eq!(sealed_query("studies/1.2/bulkdata/1").as_deref(), Some("x"));
        assert_eq!(sealed_query("studies/1.2").as_deref(), Some("x"));
        assert_eq!(sealed_query("studies/1.2/metadata"), None);
        assert_eq!(sealed_query("studies/1.2/rendered"), None);
    }
}

//! Parses a DICOMweb request into typed parts, and rejects parts that archives could interpret differently (PS3.18 8.3, 9.4, 10.4
//! and 10.6).
//!
//! [`path`] parses the resource, [`query`] the parameters of searches with the match values that [`match_value_form`] checks,
//! [`retrieval_query`] those of retrievals, [`wado_uri`] those of the URI service, and [`accept`] the media types. This module
//! sends no requests.

pub(crate) mod accept;
pub(crate) mod computed_attributes;
mod match_value_form;
pub(crate) mod path;
pub(crate) mod payload;
pub(crate) mod query;
pub(crate) mod retrieval_query;
pub(crate) mod wado_uri;

use http::{HeaderMap, Method};

use dicom_model::UidRule;
use path::Target;

/// A request below `/dicom-web/{archive}/` or `/dicom-web/`.
#[derive(Debug, Clone, Copy)]
pub struct DicomwebRequest<'a> {
    /// The method: GET or HEAD.
    pub method: &'a Method,
    /// The target that the path identifies.
    pub target: &'a Target,
    /// The raw path from which `target` was parsed, without a leading slash. URLs in the response contain it.
    pub path: &'a str,
    /// The raw query.
    pub query: Option<&'a str>,
    /// All headers of the request, few of which are forwarded.
    pub headers: &'a HeaderMap,
    /// The rule for the UIDs in the request: that of the archive, or the most lenient one of all archives.
    pub uid_rule: UidRule,
}

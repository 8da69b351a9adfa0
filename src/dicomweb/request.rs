//! Reads what a DICOMweb client asks for into typed parts, and rejects what an archive could read in another way (PS3.18 8.3, 9.4,
//! 10.4 and 10.6).
//!
//! [`path`] reads the resource, [`query`] its parameters, [`wado_uri`] the parameters of the URI service, [`accept`] the media types.
//! Nothing here sends a request.

pub(crate) mod accept;
pub(crate) mod computed_attributes;
pub(crate) mod path;
pub(crate) mod payload;
pub(crate) mod query;
pub(crate) mod wado_uri;

use http::{HeaderMap, Method};

use path::Target;

/// A request below `/dicom-web/{archive}/` or `/dicom-web/`.
#[derive(Debug, Clone, Copy)]
pub struct DicomwebRequest<'a> {
    /// GET or HEAD.
    pub method: &'a Method,
    /// What it is for.
    pub target: &'a Target,
    /// The raw path that `target` was parsed from, without a leading slash; the gateway's URLs of this request contain it.
    pub path: &'a str,
    /// The raw query.
    pub query: Option<&'a str>,
    /// All its headers; few of them are forwarded.
    pub headers: &'a HeaderMap,
}

//! Converts the stored JSON of a resource to the requested format.

use http::HeaderMap;

use super::format_negotiation::{self, FhirFormat, FhirSyntax};
use super::html::{self, PageLocation};
use crate::error::Failure;
use fhir_r4::{json, xml};

/// A format with its options for human readers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ResponseFormat {
    pub(super) format: FhirFormat,
    is_pretty: bool,
    /// The location of an HTML page with links.
    location: Option<PageLocation>,
}

impl ResponseFormat {
    /// Returns the format requested by `_format`, `_pretty` (R4 http#parameters) and the headers. `base` is the base URL of the
    /// FHIR API, if known.
    pub(super) fn from_request(
        headers: &HeaderMap,
        pairs: &[(String, String)],
        base: Option<String>,
    ) -> Result<Self, Failure> {
        let last_value =
            |name| pairs.iter().rev().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
        let format = format_negotiation::negotiate(headers, last_value("_format"))?;
        let base = base.filter(|_| format.syntax() == FhirSyntax::Html);
        let location = base.map(|base| PageLocation::new(base, pairs));
        Ok(Self { format, is_pretty: last_value("_pretty") == Some("true"), location })
    }

    /// Returns the format requested by a request without parameters.
    pub(super) fn from_headers(headers: &HeaderMap) -> Result<Self, Failure> {
        Ok(Self { format: format_negotiation::negotiate_by_headers(headers)?, ..Self::default() })
    }

    /// Whether the format is JSON without indentation, so that the stored JSON is sent unchanged.
    pub(super) fn is_compact_json(&self) -> bool {
        self.format.syntax() == FhirSyntax::Json && !self.is_pretty
    }

    /// Converts the JSON of a resource; `None` if it is not a resource. An HTML page begins with `warning`, if there is one, because a
    /// browser does not show the headers of the response.
    pub(super) fn convert(&self, json: &[u8], warning: Option<&str>) -> Option<Vec<u8>> {
        let text = || std::str::from_utf8(json).ok();
        match self.format.syntax() {
            FhirSyntax::Json if self.is_pretty => Some(json::indent(text()?).into_bytes()),
            FhirSyntax::Json => Some(json.to_vec()),
            FhirSyntax::Xml => xml::from_json(text()?, self.is_pretty).ok().map(String::into_bytes),
            FhirSyntax::Html => {
                html::render_page(text()?, self.location.as_ref(), warning).map(String::into_bytes)
            }
        }
    }
}

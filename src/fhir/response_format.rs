//! The format of a response: converts the stored JSON into the requested bytes.

use http::HeaderMap;

use super::format_negotiation::{self, FhirFormat, FhirSyntax};
use super::html::{self, PageLocation};
use crate::error::Failure;
use fhir_r4::{json, xml};

/// A format with the options for human readers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ResponseFormat {
    pub(super) format: FhirFormat,
    pretty: bool,
    /// Set for a page with links.
    location: Option<PageLocation>,
}

impl ResponseFormat {
    /// The format requested by `_format`, `_pretty` (R4 http#parameters) and the headers. `base` is the base URL of the FHIR
    /// API, if known.
    pub(super) fn of_request(
        headers: &HeaderMap,
        pairs: &[(String, String)],
        base: Option<String>,
    ) -> Result<Self, Failure> {
        let last =
            |name| pairs.iter().rev().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
        let format = format_negotiation::negotiate(headers, last("_format"))?;
        let base = base.filter(|_| format.syntax() == FhirSyntax::Html);
        let location = base.map(|base| PageLocation::new(base, pairs));
        Ok(Self { format, pretty: last("_pretty") == Some("true"), location })
    }

    /// The format of a request without parameters.
    pub(super) fn of_headers(headers: &HeaderMap) -> Result<Self, Failure> {
        Ok(Self { format: format_negotiation::accepted(headers)?, ..Self::default() })
    }

    /// Whether the stored JSON can be sent unchanged.
    pub(super) fn is_as_stored(&self) -> bool {
        self.format.syntax() == FhirSyntax::Json && !self.pretty
    }

    /// Converts a resource's JSON; `None` if it is not a resource.
    pub(super) fn write(&self, json: &[u8]) -> Option<Vec<u8>> {
        let text = || std::str::from_utf8(json).ok();
        match self.format.syntax() {
            FhirSyntax::Json if self.pretty => Some(json::indent(text()?).into_bytes()),
            FhirSyntax::Json => Some(json.to_vec()),
            FhirSyntax::Xml => xml::from_json(text()?, self.pretty).ok().map(String::into_bytes),
            FhirSyntax::Html => html::render_page(text()?, self.location.as_ref()).map(String::into_bytes),
        }
    }
}

//! How an answer is written: from the JSON that stands ready to the bytes that were asked for.

use http::HeaderMap;

use super::format::{self, FhirFormat, FhirSyntax};
use super::html::{self, PageLocation};
use crate::error::Failure;
use fhir_r4::{json, xml};

/// A format, and what only people want to have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ResponseFormat {
    pub(super) format: FhirFormat,
    pretty: bool,
    /// Of a page that has links.
    place: Option<PageLocation>,
}

impl ResponseFormat {
    /// As the request asks by `_format` and `_pretty` (R4 http#parameters) and its headers. `base` is the address of the
    /// facade, as far as it is known.
    pub(super) fn asked(
        headers: &HeaderMap,
        pairs: &[(String, String)],
        base: Option<String>,
    ) -> Result<Self, Failure> {
        let last =
            |name| pairs.iter().rev().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
        let format = format::negotiate(headers, last("_format"))?;
        let base = base.filter(|_| format.syntax() == FhirSyntax::Html);
        let place = base.map(|base| PageLocation::new(base, pairs));
        Ok(Self { format, pretty: last("_pretty") == Some("true"), place })
    }

    /// As a request without parameters asks.
    pub(super) fn accepted(headers: &HeaderMap) -> Result<Self, Failure> {
        Ok(Self { format: format::accepted(headers)?, ..Self::default() })
    }

    /// The JSON that stands ready is what is wanted.
    pub(super) fn is_as_stored(&self) -> bool {
        self.format.syntax() == FhirSyntax::Json && !self.pretty
    }

    /// The bytes that are wanted, made of a resource's JSON; `None` for what is no resource.
    pub(super) fn write(&self, json: &[u8]) -> Option<Vec<u8>> {
        let text = || std::str::from_utf8(json).ok();
        match self.format.syntax() {
            FhirSyntax::Json if self.pretty => Some(json::indented(text()?).into_bytes()),
            FhirSyntax::Json => Some(json.to_vec()),
            FhirSyntax::Xml => xml::from_json(text()?, self.pretty).ok().map(String::into_bytes),
            FhirSyntax::Html => html::of(text()?, self.place.as_ref()).map(String::into_bytes),
        }
    }
}

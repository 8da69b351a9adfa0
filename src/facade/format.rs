//! In which media type a resource is written (R4 http#mime-type).

use http::{HeaderMap, HeaderValue, header};

use super::FhirRequest;
use crate::error::Failure;
use crate::http::negotiation::{self, MediaRange};

/// The names of JSON, of which the caller gets the one that they asked by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Format {
    /// `application/fhir+json`.
    #[default]
    FhirJson,
    /// `application/json`.
    Json,
    /// `text/json`.
    TextJson,
}

impl Format {
    pub(super) fn content_type(self) -> HeaderValue {
        const FHIR_JSON: HeaderValue = HeaderValue::from_static("application/fhir+json; charset=utf-8");
        const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
        const TEXT_JSON: HeaderValue = HeaderValue::from_static("text/json; charset=utf-8");
        match self {
            Self::FhirJson => FHIR_JSON,
            Self::Json => JSON,
            Self::TextJson => TEXT_JSON,
        }
    }
}

const REFUSAL: &str = "Resources are written as application/fhir+json, FHIR version 4.0; nothing that the request accepts is that.";

/// `_format`, else `Accept`. Nothing that fits is a refusal, never another format.
pub(super) fn negotiate(request: &FhirRequest<'_>) -> Result<Format, Failure> {
    if let Some(format) = request.parameter("_format").filter(|format| !format.is_empty()) {
        // A plus that was not escaped has become a blank.
        let format = format.replace(' ', "+").to_ascii_lowercase();
        let short = (format == "json").then_some(Format::FhirJson);
        let format = short.or_else(|| negotiation::media_range(&format).as_ref().and_then(acceptable));
        return format.ok_or_else(|| Failure::not_acceptable(REFUSAL).at("http._format"));
    }
    accepted(request.headers).ok_or_else(|| Failure::not_acceptable(REFUSAL).at("http.accept"))
}

/// What the headers alone ask for; `None` when it cannot be given.
pub(super) fn accepted(headers: &HeaderMap) -> Option<Format> {
    if !headers.contains_key(header::ACCEPT) {
        return Some(Format::default());
    }
    negotiation::accepted(headers).iter().find_map(acceptable)
}

fn acceptable(range: &MediaRange) -> Option<Format> {
    if range.parameter("fhirversion").is_some_and(|version| version != "4.0") {
        return None;
    }
    match range.essence.as_str() {
        "application/fhir+json" | "application/json+fhir" | "application/*" | "*/*" => Some(Format::FhirJson),
        "application/json" => Some(Format::Json),
        "text/json" | "text/*" => Some(Format::TextJson),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::forwarded::PublicBase;

    fn negotiated(query: &str, accept: Option<&'static str>) -> Option<Format> {
        let mut headers = HeaderMap::new();
        headers.extend(accept.map(|accept| (header::ACCEPT, HeaderValue::from_static(accept))));
        let pairs = crate::http::query::decode(query).unwrap();
        let public_base = PublicBase::parse("http://h").unwrap();
        negotiate(&FhirRequest { headers: &headers, pairs, public_base }).ok()
    }

    #[test]
    fn every_spelling_of_json_is_json() {
        for query in [
            "_format=json",
            "_format=application/fhir+json",
            "_format=application%2Ffhir%2Bjson",
            "_format=application/json",
        ] {
            assert!(negotiated(query, Some("text/html")).is_some(), "{query}");
        }
        assert_eq!(negotiated("", None), Some(Format::FhirJson));
        assert_eq!(negotiated("", Some("application/json")), Some(Format::Json));
        assert_eq!(
            negotiated("", Some("application/fhir+json;q=1.0, application/json+fhir;q=0.9")),
            Some(Format::FhirJson)
        );
        assert_eq!(negotiated("", Some("text/html,application/xhtml+xml,*/*;q=0.8")), Some(Format::FhirJson));
        assert_eq!(negotiated("", Some("application/fhir+json; fhirVersion=4.0")), Some(Format::FhirJson));
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        for (query, accept) in [
            ("_format=xml", None),
            ("_format=ttl", Some("application/json")),
            ("", Some("application/fhir+xml")),
            ("", Some("text/html")),
            ("", Some("application/fhir+json; fhirVersion=3.0")),
            ("", Some("application/fhir+json;q=0")),
        ] {
            assert_eq!(negotiated(query, accept), None, "{query} {accept:?}");
        }
    }
}

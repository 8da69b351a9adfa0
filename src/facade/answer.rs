//! From a rendered resource, or a failure, to the response: headers, encodings, conditions.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use jiff::Timestamp;

use super::format::Format;
use crate::cache::{LastModified, Rendered};
use crate::error::Failure;
use crate::fhir::types::{OperationOutcome, OutcomeIssue};
use crate::http::body::{self, Body};
use crate::http::{conditional, negotiation};

const GZIP: HeaderValue = HeaderValue::from_static("gzip");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// A cache in between may keep it for this caller, and asks before it gives it again.
const REVALIDATE: HeaderValue = HeaderValue::from_static("private, no-cache");
const VARY: HeaderValue = HeaderValue::from_static("Accept, Accept-Encoding, Authorization");

/// A resource at `now`, or that the caller has it already.
pub(super) fn success(
    rendered: &Rendered,
    format: Format,
    pretty: bool,
    asked: &HeaderMap,
    now: Timestamp,
) -> Response<Body> {
    let mut response = Response::new(body::empty());
    let headers = response.headers_mut();
    headers.reserve(HEADERS);
    headers.insert(header::CONTENT_TYPE, format.content_type());
    headers.insert(header::CACHE_CONTROL, REVALIDATE);
    common(headers);
    if let Ok(etag) = HeaderValue::from_maybe_shared(rendered.etag.clone()) {
        headers.insert(header::ETAG, etag);
    }
    let modified = rendered.last_modified.as_ref();
    if let Some(Ok(date)) = modified.map(|modified| HeaderValue::from_maybe_shared(modified.text_at(now))) {
        headers.insert(header::LAST_MODIFIED, date);
    }
    if conditional::has_it_already(asked, &rendered.etag, modified.map(LastModified::second)) {
        headers.remove(header::CONTENT_TYPE);
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    if pretty {
        *response.body_mut() = body::full(indented(&rendered.json));
    } else if let Some(gzip) = rendered.gzip.as_ref().filter(|_| negotiation::accepts_gzip(asked)) {
        headers.insert(header::CONTENT_ENCODING, GZIP);
        *response.body_mut() = body::full(gzip.clone());
    } else {
        *response.body_mut() = body::full(rendered.json.clone());
    }
    response
}

/// So many header fields does most every answer have, with those that are added on its way out.
const HEADERS: usize = 7;

/// A failure as an OperationOutcome.
pub fn refuse(failure: &Failure) -> Response<Body> {
    let issue = failure.issues.iter().map(|issue| OutcomeIssue {
        severity: "error",
        code: issue.code,
        diagnostics: issue.diagnostics.clone(),
        expression: issue.expression.clone().into_iter().collect(),
    });
    let outcome = OperationOutcome { issue: issue.collect() };
    let mut response = Response::new(body::full(serde_json::to_vec(&outcome).unwrap_or_default()));
    *response.status_mut() = failure.status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, Format::FhirJson.content_type());
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    failure.describe(headers);
    common(headers);
    response
}

/// What can be done at an address (RFC 9110 9.3.7).
pub fn allowed(methods: &'static str) -> Response<Body> {
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    response
}

fn common(headers: &mut HeaderMap) {
    headers.insert(header::VARY, VARY);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
}

/// JSON for people: the same tokens, a line for each member.
fn indented(json: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(json.len() * 2);
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    let new_line = |text: &mut Vec<u8>, depth: usize| {
        text.push(b'\n');
        text.extend(std::iter::repeat_n(b' ', depth * 2));
    };
    for (index, &byte) in json.iter().enumerate() {
        if in_string {
            text.push(byte);
            in_string = escaped || byte != b'"';
            escaped = byte == b'\\' && !escaped;
            continue;
        }
        match byte {
            b'{' | b'[' => {
                text.push(byte);
                depth += 1;
                if !matches!(json.get(index + 1), Some(b'}' | b']')) {
                    new_line(&mut text, depth);
                }
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if !matches!(text.last(), Some(b'{' | b'[')) {
                    new_line(&mut text, depth);
                }
                text.push(byte);
            }
            b',' => {
                text.push(byte);
                new_line(&mut text, depth);
            }
            b':' => text.extend_from_slice(b": "),
            b'"' => {
                text.push(byte);
                in_string = true;
            }
            byte => text.push(byte),
        }
    }
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn people_get_a_line_for_each_member() {
        let text = String::from_utf8(indented(br#"{"a":[1,{"b":"x,\"{y"}],"c":{}}"#)).unwrap();
        assert_eq!(
            text,
            "{\n  \"a\": [\n    1,\n    {\n      \"b\": \"x,\\\"{y\"\n    }\n  ],\n  \"c\": {}\n}\n"
        );
    }

    proptest! {
        #[test]
        fn indenting_changes_no_value(texts in prop::collection::vec("\\PC{0,10}", 0..5)) {
            let value = serde_json::json!({"a": texts, "b": {"c": [], "d": texts}});
            let text = indented(&serde_json::to_vec(&value).unwrap());
            prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&text).unwrap(), value);
        }
    }

    #[test]
    fn a_failure_says_when_to_come_back_and_what_is_allowed() {
        let mut failure = Failure::new(StatusCode::SERVICE_UNAVAILABLE, "transient", "Archive main is busy.");
        failure.retry_after = Some(std::time::Duration::from_secs(5));
        let response = refuse(&failure);
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "5");
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    }
}

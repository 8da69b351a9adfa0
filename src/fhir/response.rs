//! Builds the HTTP response for an encoded resource or a failure: headers, content coding, conditional requests.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use jiff::Timestamp;

use super::format_negotiation::FhirFormat;
use super::html;
use super::request::fhir_base;
use super::response_format::ResponseFormat;
use crate::archive_id::ArchiveId;
use crate::encoded_resource::{EncodedResource, LastModified};
use crate::error::Failure;
use crate::http::forwarded::PublicBase;
use crate::http::{conditional, negotiation, query};
use fhir_r4::types::{OperationOutcome, OutcomeIssue};
use http_messages::body::{self, Body};
use http_messages::gzip;

const GZIP: HeaderValue = HeaderValue::from_static("gzip");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// The archives failed, and the response is from the cache (RFC 7234 5.5.2).
const REVALIDATION_FAILED: HeaderValue = HeaderValue::from_static("111 - \"Revalidation Failed\"");
/// The URL of a page may contain search criteria, which must not be sent to other sites.
const NO_REFERRER: HeaderValue = HeaderValue::from_static("no-referrer");
/// A private cache may store the response, but must revalidate it before reuse.
const REVALIDATE: HeaderValue = HeaderValue::from_static("private, no-cache");
const VARY: HeaderValue = HeaderValue::from_static("Accept, Accept-Encoding, Authorization, Prefer");

/// Returns a response with the resource, or 304 if the client already has it. `now` is the time of the response.
pub(super) fn success_response(
    encoded: &EncodedResource,
    format: &ResponseFormat,
    request: &HeaderMap,
    now: Timestamp,
) -> Result<Response<Body>, Failure> {
    let mut response = Response::new(body::empty());
    let headers = response.headers_mut();
    headers.reserve(HEADER_COUNT);
    add_common_headers(headers, format.format);
    headers.insert(header::CACHE_CONTROL, REVALIDATE);
    if let Ok(etag) = HeaderValue::from_maybe_shared(encoded.etag.clone()) {
        headers.insert(header::ETAG, etag);
    }
    let last_modified = encoded.last_modified.as_ref();
    if let Some(Ok(date)) = last_modified.map(|time| HeaderValue::from_maybe_shared(time.text_at(now))) {
        headers.insert(header::LAST_MODIFIED, date);
    }
    if let Some(reuse) = encoded.reuse {
        headers.insert(header::AGE, HeaderValue::from(reuse.age.as_secs()));
        if reuse.has_failed_revalidation {
            headers.insert(header::WARNING, REVALIDATION_FAILED);
        }
    }
    if !encoded.missing_archives.is_empty() {
        headers.insert(header::CACHE_CONTROL, NO_STORE);
        headers.insert(header::WARNING, incomplete_warning(&encoded.missing_archives));
    }
    if conditional::is_not_modified(request, &encoded.etag, last_modified.map(LastModified::second)) {
        headers.remove(header::CONTENT_TYPE);
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(response);
    }
    let accepts_gzip = negotiation::accepts_gzip(request);
    let (uncompressed, compressed) = if format.is_compact_json() {
        (encoded.json.clone(), encoded.gzip.clone())
    } else {
        let missing = &encoded.missing_archives;
        let warning = (!missing.is_empty()).then(|| incomplete_text(missing));
        let uncompressed = format.convert(&encoded.json, warning.as_deref()).ok_or_else(Failure::internal)?;
        let compressed = accepts_gzip.then(|| gzip::compress(&uncompressed)).flatten();
        (Bytes::from(uncompressed), compressed)
    };
    *response.body_mut() = body::full(match compressed.filter(|_| accepts_gzip) {
        Some(compressed) => {
            response.headers_mut().insert(header::CONTENT_ENCODING, GZIP);
            compressed
        }
        None => uncompressed,
    });
    Ok(response)
}

/// Returns an OperationOutcome with the warning that a resource may be incomplete.
pub(super) fn incomplete_outcome(missing: &[ArchiveId]) -> Vec<u8> {
    let issue = OutcomeIssue {
        severity: "warning",
        code: "incomplete",
        diagnostics: incomplete_text(missing).into(),
        expression: Vec::new(),
    };
    serde_json::to_vec(&OperationOutcome { issue: vec![issue] }).unwrap_or_default()
}

fn incomplete_text(missing: &[ArchiveId]) -> String {
    let ids = missing.iter().map(ArchiveId::as_str).collect::<Vec<_>>().join(", ");
    format!("The resource may be incomplete, because these archives failed: {ids}")
}

/// Returns the warning that a resource may be incomplete (RFC 7234 5.5.6, miscellaneous warning).
fn incomplete_warning(missing: &[ArchiveId]) -> HeaderValue {
    let warning = format!("199 - \"{}\"", incomplete_text(missing));
    HeaderValue::try_from(warning)
        .unwrap_or(HeaderValue::from_static("199 - \"The resource may be incomplete\""))
}

/// The usual number of header fields of a response, including fields that are added later.
const HEADER_COUNT: usize = 7;

/// Returns a failure as an OperationOutcome in the requested format, or in JSON if no supported format was requested.
pub fn error_response(
    failure: &Failure,
    request: &HeaderMap,
    query: Option<&str>,
    public_base: Option<&PublicBase>,
) -> Response<Body> {
    let pairs = query::decode(query.unwrap_or_default());
    // The links of an HTML page repeat the query. If it cannot be decoded, the page gets no base URL, and so has no links.
    let base = public_base.filter(|_| pairs.is_ok()).map(fhir_base);
    error_response_in(
        failure,
        &ResponseFormat::from_request(request, &pairs.unwrap_or_default(), base).unwrap_or_default(),
    )
}

/// Returns a failure as an OperationOutcome in JSON.
pub(super) fn operation_outcome(failure: &Failure) -> Vec<u8> {
    let issue = failure.issues.iter().map(|issue| OutcomeIssue {
        severity: "error",
        code: issue.code,
        diagnostics: issue.diagnostics.clone(),
        expression: issue.expression.clone().into_iter().collect(),
    });
    serde_json::to_vec(&OperationOutcome { issue: issue.collect() }).unwrap_or_default()
}

/// Returns a failure as an OperationOutcome in `format`.
pub(super) fn error_response_in(failure: &Failure, format: &ResponseFormat) -> Response<Body> {
    let json = operation_outcome(failure);
    let (content, format) = match format.convert(&json, None) {
        Some(content) => (content, format.format),
        None => (json, FhirFormat::default()),
    };
    let mut response = Response::new(body::full(content));
    let headers = response.headers_mut();
    add_common_headers(headers, format);
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    failure.add_to_response(&mut response);
    response
}

/// Returns the response to OPTIONS, which contains the allowed methods (RFC 9110 9.3.7).
pub fn options_response(methods: &'static str) -> Response<Body> {
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    response
}

fn add_common_headers(headers: &mut HeaderMap, format: FhirFormat) {
    headers.insert(header::CONTENT_TYPE, format.content_type());
    headers.insert(header::VARY, VARY);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    if format == FhirFormat::Html {
        headers.insert(header::CONTENT_SECURITY_POLICY, html::content_security_policy());
        headers.insert(header::REFERRER_POLICY, NO_REFERRER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_with_a_retry_time_has_retry_after_and_is_not_stored() {
        let mut failure = Failure::new(StatusCode::SERVICE_UNAVAILABLE, "transient", "Archive main is busy.");
        failure.retry_after = Some(std::time::Duration::from_secs(5));
        let response = error_response(&failure, &HeaderMap::new(), None, None);
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "5");
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    }

    #[test]
    fn a_failure_is_written_in_the_requested_format() {
        let failure = Failure::unknown_archive();
        let content_type = |accept, query| {
            let headers = [(header::ACCEPT, HeaderValue::from_static(accept))].into_iter().collect();
            error_response(&failure, &headers, query, None).headers()[header::CONTENT_TYPE]
                .to_str()
                .unwrap()
                .to_owned()
        };
        assert_eq!(content_type("text/xml", None), "text/xml; charset=utf-8");
        assert_eq!(
            content_type("text/xml", Some("_format=json&a=b")),
            "application/fhir+json; charset=utf-8"
        );
        assert_eq!(content_type("image/png", None), "application/fhir+json; charset=utf-8");
        assert_eq!(content_type("application/xml", Some("a=%zz")), "application/xml; charset=utf-8");
    }
}

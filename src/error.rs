//! What failed, on whose side, and whether to retry: the one table from the errors of every layer to statuses (RFC 9110 15.5,
//! 15.6), FHIR issue codes (R4 valueset-issue-type) and Retry-After.
//!
//! Each layer below has its own error enum, which knows no status. Here each variant becomes a [`Failure`]: `request` for
//! invalid requests, `archive` for failures of an archive, `auth` for rejected callers, `studies` for FHIR searches and reads,
//! and `dicomweb` for PS3.18, with the form in which DICOMweb clients receive a failure. No text or URL of an archive and no
//! value of a query is ever part of a failure.

mod archive;
mod auth;
mod dicomweb;
mod request;
mod studies;

use std::borrow::Cow;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode, header};

pub use dicomweb::refuse;

use crate::upstream::whole_seconds;

/// Default wait before a retry, where no better value is known: a service that restarts is back by then.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(5);

/// One problem, for an OperationOutcome's `issue`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// A code of R4's value set issue-type.
    pub code: &'static str,
    /// What is wrong and how to fix it, for people.
    pub diagnostics: Cow<'static, str>,
    /// The location: a search parameter as `http.name`, or a header as `http.header`.
    pub expression: Option<String>,
}

/// `text` with a capital first letter and a full stop, which errors of the layers below lack.
pub fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let mut sentence: String =
        characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect());
    if !sentence.ends_with(['.', '?', '!']) {
        sentence.push('.');
    }
    sentence
}

/// An error response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// 4xx or 5xx.
    pub status: StatusCode,
    /// At least one issue.
    pub issues: Vec<Issue>,
    /// How long to wait before a retry; `None` if a retry is not expected to help.
    pub retry_after: Option<Duration>,
    /// How to authenticate, for a 401.
    pub challenge: Option<&'static str>,
    /// The allowed methods, for a 405.
    pub allow: Option<&'static str>,
}

impl Failure {
    /// A failure with one issue.
    pub fn new(status: StatusCode, code: &'static str, diagnostics: impl Into<Cow<'static, str>>) -> Self {
        let issue = Issue { code, diagnostics: diagnostics.into(), expression: None };
        Self { status, issues: vec![issue], retry_after: None, challenge: None, allow: None }
    }

    /// The request itself is invalid.
    pub fn bad_request(code: &'static str, diagnostics: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, diagnostics)
    }

    /// The resource does not exist.
    pub fn not_found(diagnostics: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", diagnostics)
    }

    /// No archive is configured with the id in the URL.
    pub fn unknown_archive() -> Self {
        Self::not_found("There is no archive with this id; GET /fhir/Endpoint lists the archives.")
    }

    /// This server does not support what is requested.
    pub fn not_offered(diagnostics: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-supported", diagnostics)
    }

    /// The resource existed and was deleted.
    pub fn gone(diagnostics: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::GONE, "deleted", diagnostics)
    }

    /// The resource has only the methods `allow`.
    pub fn method_not_allowed(allow: &'static str, diagnostics: impl Into<Cow<'static, str>>) -> Self {
        let failure = Self::new(StatusCode::METHOD_NOT_ALLOWED, "not-supported", diagnostics);
        Self { allow: Some(allow), ..failure }
    }

    /// None of the available formats is acceptable to the client.
    pub fn not_acceptable(diagnostics: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_ACCEPTABLE, "not-supported", diagnostics)
    }

    /// The body has an unsupported media type.
    pub fn unsupported_media_type(diagnostics: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-supported", diagnostics)
    }

    /// The request or its result is too large; `code` is `too-long` or `too-costly`.
    pub fn too_large(code: &'static str, diagnostics: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, code, diagnostics)
    }

    /// An internal error.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "exception",
            "Internal error. The gateway's log has details under the request ID of this response.",
        )
    }

    /// The request exceeded its deadline; work that other requests can use continues.
    pub fn too_slow() -> Self {
        Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            "timeout",
            "The archives did not send everything that is needed in time. What they have sent so far is cached: the same \
             request may succeed later, and a narrower search is faster.",
        )
    }

    /// Sets the part of the request that the issue is about.
    #[must_use]
    pub fn at(mut self, expression: impl Into<String>) -> Self {
        if let Some(issue) = self.issues.first_mut() {
            issue.expression = Some(expression.into());
        }
        self
    }

    /// Adds the response headers that a client can act on: `Allow`, `WWW-Authenticate`, `Retry-After`.
    pub fn describe(&self, headers: &mut HeaderMap) {
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if let Some(challenge) = self.challenge {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(wait) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
        }
    }

    #[must_use]
    fn after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_ends_with_one_punctuation_mark() {
        assert_eq!(sentence("archive main is busy"), "Archive main is busy.");
        assert_eq!(sentence("is its URL right?"), "Is its URL right?");
        assert_eq!(sentence("done."), "Done.");
    }
}

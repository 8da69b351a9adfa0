//! What failed, on whose side, and whether it may be tried again: the one table from the errors of every layer to statuses
//! (RFC 9110 15.5, 15.6), to FHIR's issue codes (R4 valueset-issue-type) and to Retry-After.
//!
//! Each layer below has an enum of its own, which knows no status; here each of its variants becomes a [`Failure`]:
//! `request` for what is no valid request, `archive` for what an archive did, `studies` for searches and reads of FHIR, and
//! `dicomweb` for PS3.18, with the form in which DICOMweb clients get a failure. No text of an archive, no URL of one and no
//! value of a query ever is part of a failure.

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

/// One thing that is wrong, for an OperationOutcome's `issue`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// A code of R4's value set issue-type.
    pub code: &'static str,
    /// What is wrong and what can be done, for people.
    pub diagnostics: Cow<'static, str>,
    /// Where: a search parameter as `http.name`, or a header as `http.header`.
    pub expression: Option<String>,
}

/// `text` with a capital at its beginning and a full stop at its end, as errors of the layers below are written without.
pub fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let mut sentence: String =
        characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect());
    if !sentence.ends_with(['.', '?', '!']) {
        sentence.push('.');
    }
    sentence
}

/// A response that is no success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// 4xx or 5xx.
    pub status: StatusCode,
    /// At least one.
    pub issues: Vec<Issue>,
    /// The same request may succeed after this time.
    pub retry_after: Option<Duration>,
    /// How to authenticate, for a 401.
    pub challenge: Option<&'static str>,
    /// The methods that are allowed, for a 405.
    pub allow: Option<&'static str>,
}

impl Failure {
    /// A failure with one issue.
    pub fn new(status: StatusCode, code: &'static str, diagnostics: impl Into<Cow<'static, str>>) -> Self {
        let issue = Issue { code, diagnostics: diagnostics.into(), expression: None };
        Self { status, issues: vec![issue], retry_after: None, challenge: None, allow: None }
    }

    /// Something in the request itself is wrong.
    pub fn bad_request(code: &'static str, diagnostics: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, diagnostics)
    }

    /// There is no such resource.
    pub fn not_found(diagnostics: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", diagnostics)
    }

    /// There could be such a resource, but this server does not offer what is asked for.
    pub fn not_offered(diagnostics: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-supported", diagnostics)
    }

    /// The resource was there once.
    pub fn gone(diagnostics: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::GONE, "deleted", diagnostics)
    }

    /// The resource has other methods, `allow`.
    pub fn method_not_allowed(allow: &'static str, diagnostics: impl Into<Cow<'static, str>>) -> Self {
        let failure = Self::new(StatusCode::METHOD_NOT_ALLOWED, "not-supported", diagnostics);
        Self { allow: Some(allow), ..failure }
    }

    /// None of the available formats is acceptable to the caller.
    pub fn not_acceptable(diagnostics: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_ACCEPTABLE, "not-supported", diagnostics)
    }

    /// The body is of a type that is not read.
    pub fn unsupported_media_type(diagnostics: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-supported", diagnostics)
    }

    /// The request, or what it asks for, is too large; `code` is `too-long` or `too-costly`.
    pub fn too_large(code: &'static str, diagnostics: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, code, diagnostics)
    }

    /// Something that must not happen did.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "exception",
            "Internal error. The gateway's log has details under the request ID of this response.",
        )
    }

    /// The request took longer than it may; the work that it began goes on where others can use it.
    pub fn too_slow() -> Self {
        Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            "timeout",
            "The archives did not send everything that is needed in time. What they have sent so far is cached: the same \
             request may succeed later, and a narrower search is faster.",
        )
    }

    /// Which part of the request the issue is about.
    #[must_use]
    pub fn at(mut self, expression: impl Into<String>) -> Self {
        if let Some(issue) = self.issues.first_mut() {
            issue.expression = Some(expression.into());
        }
        self
    }

    /// Writes what a caller can act on into the response's headers: `Allow`, `WWW-Authenticate`, `Retry-After`.
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

//! The table that converts the errors of all layers to statuses (RFC 9110 15.5, 15.6), FHIR issue codes (R4 valueset-issue-type)
//! and Retry-After.
//!
//! Each lower layer has an error enum without statuses. Here each variant is converted to a [`Failure`]: in `request` for
//! invalid requests, in `archive` for failures of an archive, in `auth` for rejected callers, in `studies` for FHIR searches and
//! reads, and in `dicomweb` for PS3.18, which also creates the error responses for DICOMweb clients. A failure never contains a
//! text or URL of an archive, or a value of a query.

mod archive;
mod auth;
mod dicomweb;
mod request;
mod studies;

use std::borrow::Cow;
use std::time::Duration;

use http::{HeaderValue, Response, StatusCode, header};

pub use dicomweb::error_response;

use crate::routes::ErrorFormat;
use crate::upstream::whole_seconds;

/// The default wait before a retry: the time that a service needs to restart.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(5);

/// One problem, for the `issue` of an OperationOutcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// A code of the R4 value set issue-type.
    pub code: &'static str,
    /// A description of the problem and how to fix it, for people.
    pub diagnostics: Cow<'static, str>,
    /// The location: a search parameter as `http.name`, or a header as `http.header`.
    pub expression: Option<String>,
}

/// Capitalizes the first letter of `text` and adds a period, because errors of lower layers have neither.
pub fn to_sentence(text: &str) -> String {
    let mut characters = text.chars();
    let mut sentence: String =
        characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect());
    if !sentence.ends_with(['.', '?', '!']) {
        sentence.push('.');
    }
    sentence
}

/// The cause of a failure, for the log. It contains no UID, no URL and no value of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureCause {
    /// The archive that caused the failure, or the archives, separated by commas; `None` if no archive is the cause.
    pub archive: Option<String>,
    /// What went wrong.
    pub error: Cow<'static, str>,
}

/// An error response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The status, 4xx or 5xx.
    pub status: StatusCode,
    /// The issues, at least one.
    pub issues: Vec<Issue>,
    /// The wait before a retry; `None` if a retry is not expected to succeed.
    pub retry_after: Option<Duration>,
    /// The `WWW-Authenticate` of a 401.
    pub challenge: Option<&'static str>,
    /// The `Allow` of a 405.
    pub allow: Option<&'static str>,
    /// The cause for the log. `None` if the diagnostics of the first issue describe it.
    pub cause: Option<Box<FailureCause>>,
}

impl Failure {
    /// Creates a failure with one issue.
    pub fn new(status: StatusCode, code: &'static str, diagnostics: impl Into<Cow<'static, str>>) -> Self {
        let issue = Issue { code, diagnostics: diagnostics.into(), expression: None };
        Self { status, issues: vec![issue], retry_after: None, challenge: None, allow: None, cause: None }
    }

    /// Creates a 400 for an invalid request.
    pub fn bad_request(code: &'static str, diagnostics: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, diagnostics)
    }

    /// Creates a 401 for a request to the admin listener without its token.
    pub fn wrong_admin_token() -> Self {
        let diagnostics = "The request does not have the token that server.admin_token or server.admin_token_file configures.";
        Self {
            challenge: Some("Bearer realm=\"admin\""),
            ..Self::new(StatusCode::UNAUTHORIZED, "login", diagnostics)
        }
    }

    /// Creates a 421 for a request with an unknown host. `is_forwarded` is whether a proxy that is not trusted forwarded it.
    pub fn misdirected(is_forwarded: bool) -> Self {
        let remedy = if is_forwarded {
            " The request has the headers of a proxy; if this is the proxy of the gateway, add its address to server.trusted_proxies."
        } else {
            ""
        };
        Self::new(
            StatusCode::MISDIRECTED_REQUEST,
            "security",
            format!(
                "The host of this URL is not configured as one of the gateway's; use its public URL, or ask the administrator to set \
                 server.public_url to it, or add the host to server.hosts.{remedy}"
            ),
        )
    }

    /// Creates a 404 for a resource that does not exist.
    pub fn not_found(diagnostics: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", diagnostics)
    }

    /// Creates a 404 for an archive that is not configured.
    pub fn unknown_archive() -> Self {
        Self::not_found("There is no archive with this id; GET /fhir/Endpoint lists the archives.")
    }

    /// Creates a 404 for a resource type or interaction that this server does not support.
    pub fn not_supported(diagnostics: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-supported", diagnostics)
    }

    /// Creates a 410 for a resource that was deleted.
    pub fn gone(diagnostics: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::GONE, "deleted", diagnostics)
    }

    /// Creates a 405 for a resource that has only the methods `allow`.
    pub fn method_not_allowed(allow: &'static str, diagnostics: impl Into<Cow<'static, str>>) -> Self {
        let failure = Self::new(StatusCode::METHOD_NOT_ALLOWED, "not-supported", diagnostics);
        Self { allow: Some(allow), ..failure }
    }

    /// Creates a 406 for a client that accepts none of the available formats.
    pub fn not_acceptable(diagnostics: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_ACCEPTABLE, "not-supported", diagnostics)
    }

    /// Creates a 415 for a body with an unsupported media type.
    pub fn unsupported_media_type(diagnostics: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-supported", diagnostics)
    }

    /// Creates a 413 for a request or result that is too large; `code` is `too-long` or `too-costly`.
    pub fn too_large(code: &'static str, diagnostics: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, code, diagnostics)
    }

    /// Creates a 500 for an internal error.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "exception",
            "Internal error. The gateway's log has details under the request ID of this response.",
        )
        .with_cause(None, "internal error")
    }

    /// Creates a 504 for a request that exceeded its deadline, in the words of its interface. FHIR loads that other requests can use
    /// continue.
    pub fn timed_out(interface: ErrorFormat) -> Self {
        let diagnostics = match interface {
            ErrorFormat::Fhir => {
                "The archives did not send everything that is needed in time. What they have sent so far is cached: the same \
                 request may succeed later, and a narrower search is faster."
            }
            ErrorFormat::Dicomweb => {
                "The archives did not send everything that is needed for the beginning of the response in time. Request \
                 less, such as a single series, or try again later."
            }
        };
        Self::new(StatusCode::GATEWAY_TIMEOUT, "timeout", diagnostics)
            .with_cause(None, "the request exceeded its deadline")
    }

    /// Sets the part of the request that the issue concerns.
    #[must_use]
    pub fn with_expression(mut self, expression: impl Into<String>) -> Self {
        if let Some(issue) = self.issues.first_mut() {
            issue.expression = Some(expression.into());
        }
        self
    }

    /// Sets the cause that the log contains.
    #[must_use]
    pub fn with_cause(mut self, archive: Option<String>, error: impl Into<Cow<'static, str>>) -> Self {
        self.cause = Some(Box::new(FailureCause { archive, error: error.into() }));
        self
    }

    /// Sets the status of the response, adds the headers `Allow`, `WWW-Authenticate` and `Retry-After`, and, if the server or an
    /// archive failed, adds the [`FailureCause`] for the log as an extension.
    pub fn add_to_response<B>(&self, response: &mut Response<B>) {
        *response.status_mut() = self.status;
        if self.status.is_server_error() {
            let diagnostics = self.issues.first().map(|issue| issue.diagnostics.clone()).unwrap_or_default();
            let cause = self.cause.as_deref().cloned();
            let cause = cause.unwrap_or(FailureCause { archive: None, error: diagnostics });
            response.extensions_mut().insert(cause);
        }
        let headers = response.headers_mut();
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
    fn with_retry_after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_ends_with_one_punctuation_mark() {
        assert_eq!(to_sentence("archive main is busy"), "Archive main is busy.");
        assert_eq!(to_sentence("is its URL right?"), "Is its URL right?");
        assert_eq!(to_sentence("done."), "Done.");
    }
}

//! Request and response bodies. Forms and resources are read within limits, and a request is counted as in flight until the body
//! of its response has been sent.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::{Body as HttpBody, SizeHint};

use super::query_failure;
use crate::error::{Failure, to_sentence};
use crate::http::bounded::{self, ReadError};
use crate::http::{negotiation, query};
use crate::telemetry::{AccessLogEntry, InFlight};
use http_messages::body::{Body, BoxError};
use http_messages::observed_body::{BodyObserver, ObservedBody, PollFrame};

/// Maximum length of a form, and of the parameters of an operation, in bytes. Search parameters take a few hundred bytes; a list
/// of hundreds of UIDs is within the limit.
const MAX_FORM_SIZE: usize = 64 * 1024;

/// Maximum length of a batch in bytes. An entry takes a few hundred bytes, so the limit is above the length of thousands of
/// entries; the default of `max_batch` is 100.
const MAX_BUNDLE_SIZE: usize = 1024 * 1024;

/// Timeout of a request body. A client usually has the whole body when it sends the request.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads the pairs of a form (R4 search#searching: POST `_search`).
pub(super) async fn read_form<B: HttpBody>(
    headers: &HeaderMap,
    body: B,
) -> Result<Vec<(String, String)>, Failure> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_form = content_type.and_then(negotiation::MediaRange::parse).is_some_and(|media| {
        let is_utf8 = media.parameter("charset").is_none_or(|charset| charset.eq_ignore_ascii_case("utf-8"));
        media.essence == "application/x-www-form-urlencoded" && is_utf8
    });
    let bytes = read_whole(body, MAX_FORM_SIZE).await?;
    // Some clients send no body and no Content-Type, and all parameters in the query.
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    if !is_form {
        return Err(Failure::unsupported_media_type(
            "The parameters must be sent as application/x-www-form-urlencoded, in UTF-8.",
        ));
    }
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| Failure::bad_request("invalid", "The body is not valid UTF-8."))?;
    query::decode(text).map_err(|error| query_failure(&error))
}

/// Reads a Parameters resource in JSON (R4 operations#request). An empty body needs no Content-Type.
pub(super) async fn read_parameters<B: HttpBody>(headers: &HeaderMap, body: B) -> Result<Bytes, Failure> {
    let bytes = read_whole(body, MAX_FORM_SIZE).await?;
    if bytes.is_empty() || is_json(headers) {
        return Ok(bytes);
    }
    let diagnostics =
        "The parameters of an operation must be sent as a Parameters resource in application/fhir+json.";
    Err(Failure::unsupported_media_type(diagnostics).with_expression("http.content-type"))
}

/// Reads a Bundle in JSON (R4 http#transaction).
pub(super) async fn read_bundle<B: HttpBody>(headers: &HeaderMap, body: B) -> Result<Bytes, Failure> {
    if !is_json(headers) {
        return Err(Failure::unsupported_media_type("A batch must be sent as application/fhir+json.")
            .with_expression("http.content-type"));
    }
    read_whole(body, MAX_BUNDLE_SIZE).await
}

/// Whether the body is a resource in JSON, according to its Content-Type.
fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.and_then(negotiation::MediaRange::parse).is_some_and(|media| {
        matches!(
            media.essence.as_str(),
            "application/fhir+json" | "application/json" | "application/json+fhir" | "text/json"
        )
    })
}

async fn read_whole<B: HttpBody>(body: B, limit: usize) -> Result<Bytes, Failure> {
    bounded::read(body, limit, BODY_TIMEOUT).await.map_err(|error| match error {
        ReadError::TooLarge { .. } => Failure::too_large("too-long", to_sentence(&error.to_string())),
        ReadError::TimedOut { .. } | ReadError::Truncated => {
            Failure::bad_request("invalid", to_sentence(&error.to_string()))
        }
    })
}

/// A response body whose request is counted as in flight, and whose bytes are counted, until it is sent or dropped.
#[derive(Debug)]
pub struct MeasuredBody(ObservedBody<Body, RequestMeasurement>);

impl MeasuredBody {
    /// Creates a body whose request is in flight until the body ends; then `log_entry` is written to the log.
    pub(super) fn new(body: Body, mut log_entry: AccessLogEntry, in_flight: InFlight) -> Self {
        if body.is_end_stream() {
            log_entry.set_complete();
        }
        Self(ObservedBody::new(
            body,
            RequestMeasurement { log_entry: Some(log_entry), _in_flight: Some(in_flight) },
        ))
    }
}

impl From<Body> for MeasuredBody {
    /// Creates the body of a response that is neither counted nor logged.
    fn from(body: Body) -> Self {
        Self(ObservedBody::new(body, RequestMeasurement { log_entry: None, _in_flight: None }))
    }
}

/// The log entry and the metric of a request in flight. When they are dropped, the entry is written and the metric is decreased.
#[derive(Debug)]
struct RequestMeasurement {
    log_entry: Option<AccessLogEntry>,
    _in_flight: Option<InFlight>,
}

impl BodyObserver<Body> for RequestMeasurement {
    fn observe(&mut self, outcome: &PollFrame<BoxError>, body: &Body) {
        let (Some(log_entry), Poll::Ready(frame)) = (&mut self.log_entry, outcome) else { return };
        match frame {
            Some(Ok(frame)) => {
                log_entry.add_bytes(frame.data_ref().map_or(0, Bytes::len));
                // A body of known length is not polled again after its last frame.
                if body.is_end_stream() {
                    log_entry.set_complete();
                }
            }
            None => log_entry.set_complete(),
            // The entry is written now as aborted, because the failed body may also report its end.
            Some(Err(_)) => self.log_entry = None,
        }
    }
}

impl HttpBody for MeasuredBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> PollFrame<BoxError> {
        Pin::new(&mut self.0).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::RequestId;
    use http_messages::body;
    use std::time::Instant;

    #[test]
    fn the_log_entry_of_a_body_that_fails_is_written_as_aborted_even_if_the_body_reports_its_end() {
        let log_entry = AccessLogEntry::new(
            Instant::now(),
            RequestId::from_headers(&HeaderMap::new()),
            "GET",
            "dicomweb",
            200,
        );
        let mut measurement = RequestMeasurement { log_entry: Some(log_entry), _in_flight: None };
        let body = body::empty();
        assert!(body.is_end_stream());
        measurement.observe(&Poll::Ready(Some(Err("truncated".into()))), &body);
        assert!(measurement.log_entry.is_none(), "the entry must be written when the body fails");
    }
}

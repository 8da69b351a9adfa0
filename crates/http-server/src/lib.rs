//! Listeners and connections: HTTP/1.1 and HTTP/2 on one port, with or without TLS, on hyper without a framework.
//!
//! A connection uses resources before it sends a request. Therefore there are limits for the number of connections, the size of a
//! request head, and the time for the first byte, for a head, between requests, and while a client does not read. No peer may have
//! more than its share of the connections, and idle connections are closed if new ones need their place. Malformed or ambiguous
//! requests (RFC 9112 3.2, RFC 9113 8.3.1) are rejected before they reach the [`Service`]. This crate does not know about routes or
//! the meaning of requests.

mod accept_loop;
mod activity;
mod admin;
mod connection;
mod connection_error;
mod connection_metrics;
mod healthcheck;
mod limits;
mod open_connections;
mod protocol_detection;
mod request_body;
mod request_validation;
mod stream_body;
mod timed_stream;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};

pub use accept_loop::{DrainResult, serve, serve_with_tls};
pub use admin::{Admin, AdminState};
pub use connection_metrics::{ConnectionFailure, ConnectionMetrics};
pub use healthcheck::{ProbeError, check_readiness};
pub use limits::ConnectionLimits;
pub use request_body::RequestBody;
pub use request_validation::InvalidRequest;
pub use tls::{Tls, TlsError};

use http_messages::body::{self, Body, BoxError};

/// The address of the other end of the connection: the client, or a proxy in front of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress(pub SocketAddr);

/// The handler of a listener's requests.
pub trait Service: Send + Sync + 'static {
    /// The type of response bodies.
    type Body: http_body::Body<Data = Bytes, Error = BoxError> + From<Body> + Send + Unpin + 'static;

    /// Responds to a valid request, if that is possible without waiting; otherwise returns `None`, and
    /// [`respond`](Self::respond) is called.
    ///
    /// This function can pass information to `respond` in the extensions of the request.
    fn respond_at_once(
        &self,
        _request: &mut Request<RequestBody>,
        _peer: PeerAddress,
    ) -> Option<Response<Self::Body>> {
        None
    }

    /// Responds to a valid request.
    fn respond(
        &self,
        request: Request<RequestBody>,
        peer: PeerAddress,
    ) -> impl Future<Output = Response<Self::Body>> + Send;

    /// Builds the response to an invalid request. The caller replaces its status by the status of `invalid`.
    fn reject(&self, _request: &Request<RequestBody>, invalid: InvalidRequest) -> Response<Self::Body> {
        text_response(format!("{invalid}\n")).map(Into::into)
    }

    /// Whether `peer` is a reverse proxy, which connects for many clients. The number of its connections is not limited.
    fn has_many_clients(&self, _peer: PeerAddress) -> bool {
        false
    }

    /// Returns the metrics of the listener's connections, if any.
    fn connection_metrics(&self) -> Option<Arc<dyn ConnectionMetrics>> {
        None
    }
}

impl<F, A> Service for F
where
    F: Fn(Request<RequestBody>, PeerAddress) -> A + Send + Sync + 'static,
    A: Future<Output = Response<Body>> + Send,
{
    type Body = Body;

    fn respond(
        &self,
        request: Request<RequestBody>,
        peer: PeerAddress,
    ) -> impl Future<Output = Response<Body>> + Send {
        self(request, peer)
    }
}

/// Returns the response to an invalid request, with its status and, if the connection must end, `Connection: close`.
fn rejection<S: Service>(
    service: &S,
    request: &Request<RequestBody>,
    invalid: InvalidRequest,
) -> Response<S::Body> {
    let mut response = service.reject(request, invalid);
    *response.status_mut() = invalid.status();
    if invalid.requires_close() && request.version() <= http::Version::HTTP_11 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Returns the response after a panic in the service.
fn internal_error() -> Response<Body> {
    let mut response = text_response("the server failed\n");
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

fn text_response(text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(body::full(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests;

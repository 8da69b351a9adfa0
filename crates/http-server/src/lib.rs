//! Listeners and connections: HTTP/1.1 and HTTP/2 on one port, with TLS or without, on hyper without a framework.
//!
//! A connection costs something from its first packet, long before there is a request, so everything here is bounded:
//! how many there are, how long the first byte, a head, silence and a stalled reader may take, how large a head may be.
//! What is malformed or ambiguous (RFC 9112 §3.2, RFC 9113 §8.3.1) is turned away at the front door. What a request
//! means is the business of the [`Service`]; nothing here knows a route.

mod accept;
mod activity;
mod admin;
mod connection;
mod connection_metrics;
mod healthcheck;
mod limits;
mod protocol_detection;
mod request_body;
mod request_validation;
mod timed_stream;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};

pub use accept::{Drained, serve, serve_with_tls};
pub use admin::{Admin, AdminState};
pub use connection_metrics::ConnectionMetrics;
pub use healthcheck::{ProbeError, ask_whether_ready};
pub use limits::ConnectionLimits;
pub use request_body::RequestBody;
pub use request_validation::InvalidRequest;
pub use tls::{Tls, TlsError};

use http_messages::body::{self, Body, BoxError};

/// Who is at the other end of the connection: the caller, or the proxy in front of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress(pub SocketAddr);

/// What answers the requests of a listener.
pub trait Service: Send + Sync + 'static {
    /// What it answers with.
    type Body: http_body::Body<Data = Bytes, Error = BoxError> + From<Body> + Send + Unpin + 'static;

    /// Answers a request that the front door let in, when that takes no waiting; what gets `None` is asked for again by
    /// [`answer`](Self::answer).
    ///
    /// What it finds out about the request on the way it may leave in the request's extensions for `answer`.
    fn answer_at_once(
        &self,
        _request: &mut Request<RequestBody>,
        _peer: PeerAddress,
    ) -> Option<Response<Self::Body>> {
        None
    }

    /// Answers one request that the front door let in.
    fn answer(
        &self,
        request: Request<RequestBody>,
        peer: PeerAddress,
    ) -> impl Future<Output = Response<Self::Body>> + Send;

    /// Words the answer to a request that is not let in. The status is the refusal's, whatever is returned.
    fn refuse(&self, _request: &Request<RequestBody>, refusal: InvalidRequest) -> Response<Self::Body> {
        plain(format!("{refusal}\n")).map(Into::into)
    }

    /// Where the listener's connections are counted, if anywhere.
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

    fn answer(
        &self,
        request: Request<RequestBody>,
        peer: PeerAddress,
    ) -> impl Future<Output = Response<Body>> + Send {
        self(request, peer)
    }
}

/// The answer to what was refused, with the status and the connection's end that the refusal calls for.
fn refused<S: Service>(
    service: &S,
    request: &Request<RequestBody>,
    refusal: InvalidRequest,
) -> Response<S::Body> {
    let mut response = service.refuse(request, refusal);
    *response.status_mut() = refusal.status();
    if refusal.closes() && request.version() <= http::Version::HTTP_11 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The answer of a service that broke down.
fn broken() -> Response<Body> {
    let mut response = plain("the server failed\n");
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

fn plain(text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(body::full(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests;

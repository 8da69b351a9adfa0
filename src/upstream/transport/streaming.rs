//! The HTTP client for responses that the gateway forwards. It uses hyper directly, because `reqwest` cannot limit how much of a
//! body is buffered.
//!
//! While the caller of the gateway does not read, the gateway buffers a part of the body: over HTTP/1 the chunk that is being
//! sent and a few queued chunks, over HTTP/2 a flow control window of the stream. [`Settings::stream_buffer`] limits the size of a
//! chunk and is the size of the window.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::Empty;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;
use tokio_rustls::rustls::ClientConfig;
use tower_service::Service;

use super::resolver::Resolver;
use super::timed_body::TimedBody;
use super::{
    BoxError, CONNECT_TIMEOUT, ConnectionUse, MAX_HEADERS, OutgoingRequest, POOL_IDLE_TIMEOUT,
    TransportError, USER_AGENT, connect_error,
};
use crate::upstream::{ConnectFailure, Settings};

/// The number of stream windows that the window of a connection contains: streams that are not read block other streams only if
/// there are as many of them. If a stream window has more than 2 MiB, [`MAX_WINDOW_SIZE`] allows fewer stream windows.
const WINDOWS_PER_CONNECTION: u32 = 1024;

/// Maximum size of a flow control window, in bytes (RFC 9113 6.9.1).
const MAX_WINDOW_SIZE: u32 = i32::MAX.cast_unsigned();

/// Idle time before TCP keepalive probes, which detect a peer that disappeared without closing the connection.
const KEEPALIVE_TIME: Duration = Duration::from_secs(15);

/// The HTTP client of one archive. Connections are pooled between calls.
#[derive(Debug)]
pub(super) struct StreamingTransport {
    client: Client<Connector, Empty<Bytes>>,
    /// Timeout between two chunks of a body.
    idle_timeout: Duration,
}

impl StreamingTransport {
    pub(super) fn new(
        settings: &Settings,
        tls: ClientConfig,
        resolver: Resolver,
        connection: ConnectionUse,
    ) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(resolver);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEPALIVE_TIME));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(tcp);
        let buffer = settings.stream_buffer;
        let window = u32::try_from(buffer).unwrap_or(u32::MAX).min(MAX_WINDOW_SIZE);
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .pool_max_idle_per_host(connection.max_idle())
            .http1_max_headers(MAX_HEADERS)
            .http1_max_buf_size(buffer)
            .http2_initial_stream_window_size(window)
            .http2_initial_connection_window_size(
                window.saturating_mul(WINDOWS_PER_CONNECTION).min(MAX_WINDOW_SIZE),
            )
            // With a limit, frames for canceled streams would close the connection and every other stream on it.
            .http2_max_local_error_reset_streams(None)
            .build(Connector(connector));
        Self { client, idle_timeout: settings.timeout }
    }

    pub(super) async fn send(
        &self,
        outgoing: OutgoingRequest,
    ) -> Result<Response<TimedBody>, TransportError> {
        let response = self.client.request(http_request(outgoing)?).await.map_err(|error| {
            if error.is_connect() {
                connect_error(&error, ConnectFailure::Other)
            } else {
                TransportError::Disconnected
            }
        })?;
        Ok(response.map(|body| TimedBody::new(body, self.idle_timeout)))
    }
}

fn http_request(
    OutgoingRequest { url, headers }: OutgoingRequest,
) -> Result<Request<Empty<Bytes>>, TransportError> {
    let mut request = Request::new(Empty::new());
    // Fails only if the URL has more than 65,534 bytes, the maximum of `Uri`. URLs are shorter, because long lists of UIDs are split, the
    // other values of a DICOMweb search have at most 4 KiB, paths at most 8 KiB, and a FHIR search has at most 4 KiB per value and few
    // matching keys.
    *request.uri_mut() =
        Uri::try_from(url.as_str()).map_err(|_| TransportError::Unreachable(ConnectFailure::Other))?;
    *request.headers_mut() = headers;
    let headers = request.headers_mut();
    headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    headers.entry(header::ACCEPT).or_insert(HeaderValue::from_static("*/*"));
    headers.entry(header::ACCEPT_ENCODING).or_insert(HeaderValue::from_static("identity"));
    Ok(request)
}

/// A connector with a timeout that includes the TLS handshake.
#[derive(Debug, Clone)]
struct Connector(HttpsConnector<HttpConnector<Resolver>>);

impl Service<Uri> for Connector {
    type Response = <HttpsConnector<HttpConnector<Resolver>> as Service<Uri>>::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.0.call(uri);
        Box::pin(async { timeout(CONNECT_TIMEOUT, connecting).await? })
    }
}

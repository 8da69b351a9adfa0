//! The HTTP client for responses that the gateway reads itself. The client is replaced before HTTP/2 closes its connection.
//!
//! Over HTTP/2 all calls share one connection. Each canceled call resets a stream, and when a thousand frames have arrived for
//! reset streams, the library closes the connection and aborts every call on it. A new client replaces the old one long before
//! that; calls in flight finish on the old client.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::task::Poll;

use http::{HeaderValue, Response, Version, header};
use http_body::Body;
use http_body_util::BodyExt;
use http_body_util::combinators::MapErr;
use reqwest::redirect::Policy;
use tokio_rustls::rustls::ClientConfig;

use super::resolver::Resolver;
use super::{
    CONNECT_TIMEOUT, ConnectionUse, MAX_HEADERS, OutgoingRequest, POOL_IDLE_TIMEOUT, TransportError,
    USER_AGENT, connect_error,
};
use crate::upstream::{ConnectFailure, Settings, SettingsError};
use http_messages::observed_body::{BodyObserver, ObservedBody, PollFrame};

/// Maximum number of canceled calls per client, below the 50 recently reset streams whose frames h2 ignores. h2 counts every
/// frame for other reset streams as an error of the connection, and one canceled call can leave a hundred frames in flight.
const MAX_CANCELED_CALLS: usize = 40;

/// The HTTP client of one archive.
#[derive(Debug)]
pub(super) struct BufferedTransport(Arc<ReplaceableClient>);

#[derive(Debug)]
struct ReplaceableClient {
    settings: Settings,
    tls: ClientConfig,
    resolver: Resolver,
    connection: ConnectionUse,
    current: RwLock<reqwest::Client>,
    canceled_count: AtomicUsize,
}

impl BufferedTransport {
    pub(super) fn new(
        settings: &Settings,
        tls: &ClientConfig,
        resolver: Resolver,
        connection: ConnectionUse,
    ) -> Result<Self, SettingsError> {
        let mut tls = tls.clone();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let current = build_client(settings, &tls, &resolver, connection)
            .map_err(|_| SettingsError::Client(settings.id.clone()))?;
        let settings = settings.clone();
        Ok(Self(Arc::new(ReplaceableClient {
            settings,
            tls,
            resolver,
            connection,
            current: RwLock::new(current),
            canceled_count: AtomicUsize::new(0),
        })))
    }

    pub(super) async fn send(&self, outgoing: OutgoingRequest) -> Result<Response<ReadBody>, TransportError> {
        let client = self.0.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut call = self.start_call();
        let mut request = reqwest::Request::new(reqwest::Method::GET, outgoing.url);
        *request.headers_mut() = outgoing.headers;
        request.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        let response = client.execute(request).await.map_err(|error| transport_error(&error))?;
        call.shares_connection = response.version() == Version::HTTP_2;
        let response = Response::<reqwest::Body>::from(response);
        Ok(response.map(|body| call.observe_body(body)))
    }

    /// Starts to observe a call, so that it is counted if it is canceled.
    fn start_call(&self) -> Call {
        // Without TLS no protocol is negotiated, and HTTP/1.1 is used.
        let Settings { qido_url, wado_url, .. } = &self.0.settings;
        let may_share = [qido_url, wado_url].into_iter().any(|url| url.scheme() == "https");
        Call { client: Arc::clone(&self.0), has_ended: false, shares_connection: may_share }
    }
}

impl ReplaceableClient {
    fn count_canceled_call(&self) {
        if self.canceled_count.fetch_add(1, Ordering::Relaxed) + 1 < MAX_CANCELED_CALLS {
            return;
        }
        // The old client stays in use if no new client can be built.
        if let Ok(client) = build_client(&self.settings, &self.tls, &self.resolver, self.connection) {
            *self.current.write().unwrap_or_else(PoisonError::into_inner) = client;
            self.canceled_count.store(0, Ordering::Relaxed);
        }
    }
}

fn build_client(
    settings: &Settings,
    tls: &ClientConfig,
    resolver: &Resolver,
    connection: ConnectionUse,
) -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls.clone())
        .dns_resolver(Arc::new(resolver.clone()))
        .user_agent(USER_AGENT)
        .redirect(Policy::none())
        .referer(false)
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(settings.timeout)
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .pool_max_idle_per_host(connection.max_idle())
        .http1_max_headers(MAX_HEADERS)
        .http2_adaptive_window(true)
        .tcp_nodelay(true)
        .build()
}

fn transport_error(error: &reqwest::Error) -> TransportError {
    if error.is_connect() {
        let timed_out = ConnectFailure::TimedOut(CONNECT_TIMEOUT);
        connect_error(error, if error.is_timeout() { timed_out } else { ConnectFailure::Other })
    } else if error.is_timeout() {
        TransportError::TimedOut
    } else {
        TransportError::Disconnected
    }
}

/// A call in flight. A call that is dropped before its end counts as canceled.
#[derive(Debug)]
pub(in crate::upstream) struct Call {
    client: Arc<ReplaceableClient>,
    has_ended: bool,
    /// Whether other calls may use the connection of this call.
    shares_connection: bool,
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.has_ended && self.shares_connection {
            self.client.count_canceled_call();
        }
    }
}

/// A body that the gateway reads, as a stream. It is not decoded.
pub(in crate::upstream) type ReadBody =
    MapErr<ObservedBody<reqwest::Body, Call>, fn(reqwest::Error) -> TransportError>;

impl Call {
    /// Ends the call if `body` has ended, even if the consumer does not poll again.
    fn record_end(&mut self, body: &reqwest::Body) {
        self.has_ended |= body.is_end_stream();
    }

    fn observe_body(mut self, body: reqwest::Body) -> ReadBody {
        self.record_end(&body);
        ObservedBody::new(body, self).map_err((|error| transport_error(&error)) as fn(_) -> _)
    }
}

impl BodyObserver<reqwest::Body> for Call {
    fn observe(&mut self, outcome: &PollFrame<reqwest::Error>, body: &reqwest::Body) {
        match outcome {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(_))) => self.record_end(body),
            Poll::Ready(None | Some(Err(_))) => self.has_ended = true,
        }
    }
}

//! The HTTP transport to one archive. It has two clients: one decodes the responses that the gateway reads itself; the other
//! leaves forwarded responses encoded and buffers a bounded part of them.
//!
//! Neither client follows redirects, stores cookies or uses proxies named in the environment, and both trust the same
//! certificates. The module `upstream` decides what may be sent and sets the deadline.

mod buffered;
mod connect_failure;
mod resolver;
mod streaming;
mod timed_body;
mod tls;

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body, Frame, SizeHint};
use url::Url;

use super::{ConnectFailure, Settings, SettingsError};
use buffered::{BufferedTransport, ReadBody};
use connect_failure::connect_error;
use resolver::Resolver;
use streaming::StreamingTransport;
use timed_body::TimedBody;

pub use resolver::is_forbidden_address;

/// Timeout of a connection attempt, including the TLS handshake. On a local network, an attempt that takes longer has failed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Timeout of idle connections in the pool. Orthanc closes connections that were idle for one second, so a longer timeout
/// would only keep closed connections.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_millis(800);

/// Maximum number of header fields of a response; a dozen is usual.
const MAX_HEADERS: usize = 200;

/// The `User-Agent` of every request.
const USER_AGENT: &str = concat!("dicomweb-gateway/", env!("CARGO_PKG_VERSION"));

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A GET request to send. It has no body.
#[derive(Debug)]
pub(super) struct OutgoingRequest {
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
}

/// The use of a response body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyUse {
    /// The gateway reads the decoded body.
    Read,
    /// The body is forwarded unchanged, with its Content-Encoding.
    Forward,
}

/// The connection of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConnectionUse {
    /// An idle connection of the pool, or a new one.
    Pooled,
    /// A new connection, which no other request uses.
    New,
}

impl ConnectionUse {
    /// Returns the maximum number of idle connections of a client for such requests.
    fn max_idle(self) -> usize {
        match self {
            Self::Pooled => usize::MAX,
            Self::New => 0,
        }
    }
}

/// The reason why a response, or a further part of its body, did not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TransportError {
    /// No connection could be made.
    Unreachable(ConnectFailure),
    /// The host name has no address that may be called.
    ForbiddenAddress,
    /// No byte arrived within the timeout.
    TimedOut,
    /// The connection was closed before the response was complete.
    Disconnected,
}

/// The HTTP clients of one archive.
#[derive(Debug)]
pub(super) struct Transport {
    pooled: Clients,
    /// The clients whose requests have new connections.
    unpooled: Clients,
}

/// The two HTTP clients of one archive.
#[derive(Debug)]
struct Clients {
    buffered: BufferedTransport,
    streaming: StreamingTransport,
}

impl Transport {
    pub(super) fn new(settings: &Settings) -> Result<Self, SettingsError> {
        Self::with_resolver(&Resolver::system(settings.allow_link_local), settings)
    }

    fn with_resolver(resolver: &Resolver, settings: &Settings) -> Result<Self, SettingsError> {
        let tls = tls::client_config(settings)?;
        let clients = |connection| -> Result<Clients, SettingsError> {
            let buffered = BufferedTransport::new(settings, &tls, resolver.clone(), connection)?;
            let streaming = StreamingTransport::new(settings, tls.clone(), resolver.clone(), connection);
            Ok(Clients { buffered, streaming })
        };
        Ok(Self { pooled: clients(ConnectionUse::Pooled)?, unpooled: clients(ConnectionUse::New)? })
    }

    /// Sends `outgoing` and returns once the response headers have arrived. Dropping the body cancels the call.
    pub(super) async fn send(
        &self,
        body_use: BodyUse,
        connection: ConnectionUse,
        outgoing: OutgoingRequest,
    ) -> Result<Response<IncomingBody>, TransportError> {
        let clients = match connection {
            ConnectionUse::Pooled => &self.pooled,
            ConnectionUse::New => &self.unpooled,
        };
        match body_use {
            BodyUse::Read => Ok(clients.buffered.send(outgoing).await?.map(IncomingBody::Read)),
            BodyUse::Forward => Ok(clients.streaming.send(outgoing).await?.map(IncomingBody::Streamed)),
        }
    }
}

/// The body of a response, as a stream.
#[derive(Debug)]
pub(super) enum IncomingBody {
    Read(ReadBody),
    Streamed(TimedBody),
}

impl Body for IncomingBody {
    type Data = Bytes;
    type Error = TransportError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TransportError>>> {
        let frame = match &mut *self {
            Self::Read(body) => ready!(Pin::new(body).poll_frame(context)),
            Self::Streamed(body) => ready!(Pin::new(body).poll_frame(context)),
        };
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Read(body) => body.is_end_stream(),
            Self::Streamed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Read(body) => body.size_hint(),
            Self::Streamed(body) => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests;

//! HTTP to one archive, by two clients: what the gateway reads itself is decoded for it, what it carries through stays as it is,
//! and is held only as far as its buffers go.
//!
//! Neither follows a redirect, keeps a cookie or looks at the environment's proxies, and both trust the same certificates. What
//! may be sent, and how long it may take, is the business of the room around it.

mod buffered;
mod resolver;
mod streaming;
mod tls;
mod unconnected;

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use http_body::{Body, Frame, SizeHint};
use url::Url;

use super::{ConnectFailure, Settings, SettingsError};
use buffered::{BufferedTransport, Read};
use resolver::Resolver;
use streaming::{Carried, StreamingTransport};
use unconnected::unconnected;

pub use resolver::is_forbidden_address;

/// A connection is made on a local network, or something is wrong. TLS is a part of it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Orthanc drops a connection that was idle for a second; waiting longer only finds dead ones.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_millis(800);

/// An answer's head has at most so many fields: a dozen is usual.
const MAX_HEADERS: usize = 200;

/// Who asks.
const USER_AGENT: &str = concat!("dicomweb-gateway/", env!("CARGO_PKG_VERSION"));

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What is sent; it has no body.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
}

/// What becomes of an answer's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyUse {
    /// The gateway reads it.
    Read,
    /// It is passed on as it came, with its Content-Encoding.
    Carry,
}

/// Why nothing, or nothing more, came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TransportError {
    /// There is no connection.
    Unreachable(ConnectFailure),
    /// There is no address that may be called.
    ForbiddenAddress,
    /// Nothing came for too long.
    TimedOut,
    /// The connection broke.
    Disconnected,
}

/// Both clients.
#[derive(Debug)]
pub(super) struct Transport {
    reading: BufferedTransport,
    forwarding_headers: StreamingTransport,
}

impl Transport {
    pub(super) fn new(settings: &Settings) -> Result<Self, SettingsError> {
        Self::resolving_by(Resolver::system(settings.allow_link_local), settings)
    }

    fn resolving_by(resolver: Resolver, settings: &Settings) -> Result<Self, SettingsError> {
        let tls = tls::client_config(settings)?;
        let reading = BufferedTransport::new(settings, &tls, resolver.clone())?;
        Ok(Self { reading, forwarding_headers: StreamingTransport::new(settings, tls, resolver) })
    }

    /// Sends `outgoing`, and returns with the head of the answer. Dropping its body ends the call.
    pub(super) async fn send(
        &self,
        purpose: BodyUse,
        outgoing: Outgoing,
    ) -> Result<Response<Incoming>, TransportError> {
        match purpose {
            BodyUse::Read => Ok(self.reading.send(outgoing).await?.map(Incoming::Read)),
            BodyUse::Carry => Ok(self.forwarding_headers.send(outgoing).await?.map(Incoming::Carried)),
        }
    }
}

/// The body of an answer, as it comes.
#[derive(Debug)]
pub(super) enum Incoming {
    Read(Read),
    Carried(Carried),
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = TransportError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TransportError>>> {
        let frame = match &mut *self {
            Self::Read(body) => ready!(Pin::new(body).poll_frame(context)),
            Self::Carried(body) => ready!(Pin::new(body).poll_frame(context)),
        };
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Read(body) => body.is_end_stream(),
            Self::Carried(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Read(body) => body.size_hint(),
            Self::Carried(body) => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests;

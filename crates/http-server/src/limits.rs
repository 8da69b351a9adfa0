//! The limits of a listener's connections, with their defaults: the number of connections, the timeouts of a connection, and the
//! timeout of the drain. This module does not know about the configuration.

use std::time::Duration;

/// Each connection needs a file descriptor and up to two buffers of 64 KiB, so 1,024 connections have up to 128 MiB of buffers. The
/// service may need another file descriptor per connection, so the limit of the process must be above twice this number. If no file
/// descriptor is left, new connections wait.
const MAX_CONNECTIONS: usize = 1024;

/// Half of the connections, so that no single peer can keep the others out. Browsers open six connections, and a reverse proxy that
/// is not configured as one needs fewer than this.
const MAX_CONNECTIONS_PER_PEER: usize = 512;

/// Clients send a request as soon as the connection is open. Ten seconds tolerate one or two lost packets.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(10);

/// A request head fits in a few packets; a client that needs longer occupies the connection without using it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Longer than the 60 seconds after which common proxies close idle connections. Therefore the proxy closes a connection first, and
/// no request is sent on a connection that is being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// A client that reads no byte for a minute is disconnected or malicious, and it blocks a connection to an archive.
const STALL_TIMEOUT: Duration = Duration::from_mins(1);

/// Long enough to complete a study retrieval on a hospital network. The orchestrator's grace period must be longer.
const DRAIN_TIMEOUT: Duration = Duration::from_mins(5);

/// The limits of a listener's connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Maximum number of connections. Further connections wait in the accept queue of the system.
    pub max_connections: usize,
    /// Maximum number of connections of one peer, unless it [has many clients](crate::Service::has_many_clients). For an additional
    /// connection, an idle one of the peer is closed; if none is idle, the additional connection is closed.
    pub max_connections_per_peer: usize,
    /// Timeout from accepting the connection to its first bytes, which show the HTTP version, or to the end of the TLS handshake.
    pub first_byte: Duration,
    /// Timeout from the first to the last byte of a request head, and for reading the rest of a request body that the service
    /// did not read (HTTP/1).
    pub head: Duration,
    /// Timeout between requests. Over HTTP/2 it also applies while flow control windows of the client block every response.
    pub idle: Duration,
    /// Timeout while bytes of a response wait in the socket and the client reads none, or while the flow control window of an HTTP/2
    /// stream blocks its response.
    pub stall: Duration,
    /// Maximum time from the shutdown signal to the end of the requests in flight.
    pub drain: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            max_connections: MAX_CONNECTIONS,
            max_connections_per_peer: MAX_CONNECTIONS_PER_PEER,
            first_byte: FIRST_BYTE_TIMEOUT,
            head: HEAD_TIMEOUT,
            idle: IDLE_TIMEOUT,
            stall: STALL_TIMEOUT,
            drain: DRAIN_TIMEOUT,
        }
    }
}

//! Default limits of connections: number, timeouts and the drain. Does not know about the configuration.

use std::time::Duration;

/// Each connection needs a file descriptor and up to two buffers of 64 KiB. 1,024 connections are below the default
/// limit of descriptors of a process, with as many left for connections to archives.
const MAX_CONNECTIONS: usize = 1024;

/// Clients send a request as soon as the connection is open. Ten seconds tolerate one or two lost packets.
const FIRST_BYTE: Duration = Duration::from_secs(10);

/// A head fits in a few packets; a client that needs longer occupies the connection without using it.
const HEAD: Duration = Duration::from_secs(10);

/// Longer than the 60 seconds for which common proxies keep idle connections, so the proxy closes the connection first
/// and no request is sent on a connection that is being closed.
const IDLE: Duration = Duration::from_secs(75);

/// A client that reads no byte for a minute is disconnected or malicious, and it blocks a connection to an archive.
const STALL: Duration = Duration::from_mins(1);

/// Long enough to complete a study retrieval on a hospital network. The orchestrator's grace period must be longer.
const DRAIN: Duration = Duration::from_mins(5);

/// The limits of a listener's connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Maximum number of connections; further ones wait in the accept queue of the system.
    pub max_connections: usize,
    /// Timeout from the connection to its first byte, and to the end of the HTTP/2 preface or the TLS handshake.
    pub first_byte: Duration,
    /// Timeout from the first to the last byte of a head, and for reading the rest of a body that the service did not
    /// read (HTTP/1).
    pub head: Duration,
    /// Timeout between requests; on HTTP/2 also while the client does not read responses.
    pub idle: Duration,
    /// Timeout while the client reads no byte of a response from the socket.
    pub stall: Duration,
    /// Maximum time from the shutdown signal to the end of the requests in flight.
    pub drain: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            max_connections: MAX_CONNECTIONS,
            first_byte: FIRST_BYTE,
            head: HEAD,
            idle: IDLE,
            stall: STALL,
            drain: DRAIN,
        }
    }
}

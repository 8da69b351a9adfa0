//! How much a connection may cost before, between and after requests.

use std::time::Duration;

/// Each connection holds a file descriptor and up to two buffers of 64 KiB: 1,024 stay below the descriptors that a
/// process has by default, with room for as many towards the archives.
const MAX_CONNECTIONS: usize = 1024;

/// Who opens a connection wants to say something. Ten seconds forgive a lost packet or two on a bad line.
const FIRST_BYTE: Duration = Duration::from_secs(10);

/// A head fits in a few packets; who needs longer is holding the connection, not using it.
const HEAD: Duration = Duration::from_secs(10);

/// Longer than the 60 seconds for which common proxies keep their idle connections, so that it is the proxy that closes
/// and no request meets a connection which is just going away.
const IDLE: Duration = Duration::from_secs(75);

/// A reader that takes not one byte for a minute has gone, or means harm; an archive's connection waits behind it.
const STALL: Duration = Duration::from_mins(1);

/// Long enough for a study that is under way on a hospital's line; less than the patience of an orchestrator that was
/// told so.
const DRAIN: Duration = Duration::from_mins(5);

/// What a listener allows its connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// How many there may be; further ones wait in the system's queue.
    pub max_connections: usize,
    /// From the connection to its first byte, and to the end of an HTTP/2 preface.
    pub first_byte: Duration,
    /// From the first byte of a head to its last, and to the end of a body that nobody reads (HTTP/1).
    pub head: Duration,
    /// Between requests; on HTTP/2 also while answers are not taken.
    pub idle: Duration,
    /// Without a byte of an answer being taken from the socket.
    pub stall: Duration,
    /// From the order to stop to the end of what is under way.
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

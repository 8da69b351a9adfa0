//! The accept loop: a permit for each connection, backoff if the system has no more file descriptors, and the drain at shutdown.
//! This module does not know about requests.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::connection::{serve_connection, serve_tls_connection};
use super::connection_metrics::OpenConnection;
use super::open_connections::OpenConnections;
use super::{ConnectionLimits, PeerAddress, Service, Tls};

/// Backoff after a failed accept, doubled each time: the missing resources (descriptors, memory) become available only
/// when other connections end.
const MIN_BACKOFF: Duration = Duration::from_millis(10);
const MAX_BACKOFF: Duration = Duration::from_secs(1);

/// If fewer than 1/16 of the permits are free, an idle connection is closed for each new one.
const MIN_FREE_DIVISOR: usize = 16;

/// The maximum number of unsent bytes in the send buffer of a connection (`TCP_NOTSENT_LOWAT`). Without this limit, the buffer accepts
/// megabytes, and then nothing until a third of them is acknowledged, so a client that reads slowly but steadily seems to be stalled.
/// With the limit, the buffer accepts more bytes after half of the limit is sent; a client of 1 KiB/s reads this half in 48 seconds.
/// A third of this limit would cost a quarter more CPU time for fast clients.
#[cfg(target_os = "linux")]
const MAX_UNSENT: u32 = 96 * 1024;

/// The result of the drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainResult {
    /// The number of connections that were aborted at the end of the drain timeout.
    pub aborted: usize,
}

/// Serves the connections of `listener` until `stop` is ready. Then it accepts no more connections, and returns when the
/// requests in flight are complete, or after `limits.drain`.
pub async fn serve<S: Service>(
    listener: TcpListener,
    limits: ConnectionLimits,
    service: S,
    stop: impl Future<Output = ()>,
) -> DrainResult {
    serve_with_tls(listener, None, limits, service, stop).await
}

/// Serves the connections of `listener` like [`serve`], with TLS if `tls` is present.
pub async fn serve_with_tls<S: Service>(
    listener: TcpListener,
    tls: Option<Tls>,
    limits: ConnectionLimits,
    service: S,
    stop: impl Future<Output = ()>,
) -> DrainResult {
    let (limits, service) = (Arc::new(limits), Arc::new(service));
    let permits = Arc::new(Semaphore::new(limits.max_connections));
    let open_connections = OpenConnections::default();
    let (stop_sender, stop_receiver) = watch::channel(false);
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        let (stream, peer, permit) = tokio::select! {
            () = &mut stop => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &permits) => accepted,
        };
        let max_per_peer = (!service.has_many_clients(peer)).then_some(limits.max_connections_per_peer);
        let Some(connection) = open_connections.admit(peer.0.ip(), max_per_peer) else {
            tracing::debug!(
                "a connection was closed, because its peer has the maximum number of connections"
            );
            continue;
        };
        if permits.available_permits() < (limits.max_connections / MIN_FREE_DIVISOR).max(1) {
            open_connections.close_idle_connection(&connection);
        }
        let (limits, service, tls) = (Arc::clone(&limits), Arc::clone(&service), tls.clone());
        let stop = stop_receiver.clone();
        connections.spawn(async move {
            let open = OpenConnection::new(service.connection_metrics());
            let result = match tls {
                Some(tls) => {
                    serve_tls_connection(stream, &tls, peer, connection, &limits, service, stop).await
                }
                None => serve_connection(stream, peer, connection, &limits, service, stop).await,
            };
            if let Err(failure) = result {
                open.record_failure(failure);
            }
            drop(permit);
        });
    }
    // The listener is closed first: a client whose connection is refused tries another replica; a connection in the accept queue
    // would be lost.
    drop(listener);
    let _ = stop_sender.send(true);
    let connections_end = async { while connections.join_next().await.is_some() {} };
    let _ = timeout(limits.drain, connections_end).await;
    let aborted = connections.len();
    connections.shutdown().await;
    DrainResult { aborted }
}

/// Waits for a permit, then accepts the next connection.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> (TcpStream, PeerAddress, OwnedSemaphorePermit) {
    let mut backoff = MIN_BACKOFF;
    loop {
        let Ok(permit) = Arc::clone(permits).acquire_owned().await else {
            // Unreachable: the semaphore is never closed.
            return std::future::pending().await;
        };
        match listener.accept().await {
            Ok((stream, address)) => {
                // With this option, heads and short responses are sent without delay. A failure to set it only delays them.
                let _ = stream.set_nodelay(true);
                limit_unsent(&stream);
                return (stream, PeerAddress(address), permit);
            }
            Err(error) => {
                tracing::warn!(error = %error.kind(), "a connection could not be accepted");
                sleep(backoff).await;
                backoff = (2 * backoff).min(MAX_BACKOFF);
            }
        }
    }
}

/// Limits the unsent bytes in the send buffer. A failure only makes slow clients seem slower.
#[cfg(target_os = "linux")]
fn limit_unsent(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_tcp_notsent_lowat(MAX_UNSENT);
}

/// Other systems have no such limit.
#[cfg(not(target_os = "linux"))]
fn limit_unsent(_: &TcpStream) {}

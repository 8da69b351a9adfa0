//! The accept loop: a permit for each connection, patience with a system that has run out of descriptors, and the drain.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::connection::{serve_connection, serve_tls_connection};
use super::connection_metrics::OpenConnection;
use super::{ConnectionLimits, PeerAddress, Service, Tls};

/// The wait after a failed accept: doubled each time, since what is missing (descriptors, memory) comes back only when
/// other connections end.
const MIN_PAUSE: Duration = Duration::from_millis(10);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// How a listener's last connections ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were cut because the time for the drain was over.
    pub cut: usize,
}

/// Serves every connection to `listener` until `stop` is ready; then accepts no more, finishes what is under way, and
/// returns when all is done or `limits.drain` is over.
pub async fn serve<S: Service>(
    listener: TcpListener,
    limits: ConnectionLimits,
    service: S,
    stop: impl Future<Output = ()>,
) -> Drained {
    serve_with_tls(listener, None, limits, service, stop).await
}

/// The same, with TLS where there is a certificate.
pub async fn serve_with_tls<S: Service>(
    listener: TcpListener,
    tls: Option<Tls>,
    limits: ConnectionLimits,
    service: S,
    stop: impl Future<Output = ()>,
) -> Drained {
    let (limits, service) = (Arc::new(limits), Arc::new(service));
    let permits = Arc::new(Semaphore::new(limits.max_connections));
    let (stopping, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        let (stream, peer, permit) = tokio::select! {
            () = &mut stop => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &permits) => accepted,
        };
        let (limits, service, stopped) = (Arc::clone(&limits), Arc::clone(&service), stopped.clone());
        let tls = tls.clone();
        connections.spawn(async move {
            let _open = OpenConnection::new(service.connection_metrics());
            match tls {
                Some(tls) => serve_tls_connection(stream, &tls, peer, &limits, service, stopped).await,
                None => serve_connection(stream, peer, &limits, service, stopped).await,
            }
            drop(permit);
        });
    }
    // Closed first: a connection that is refused finds another replica, one that waits in the queue is lost.
    drop(listener);
    let _ = stopping.send(true);
    let all_done = async { while connections.join_next().await.is_some() {} };
    let _ = timeout(limits.drain, all_done).await;
    let cut = connections.len();
    connections.shutdown().await;
    Drained { cut }
}

/// The next connection, as soon as there is a permit for it.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> (TcpStream, PeerAddress, OwnedSemaphorePermit) {
    let mut pause = MIN_PAUSE;
    loop {
        let Ok(permit) = Arc::clone(permits).acquire_owned().await else {
            // The semaphore is never closed; were it, there would be nothing more to accept.
            return std::future::pending().await;
        };
        match listener.accept().await {
            Ok((stream, address)) => {
                // Heads and short answers leave at once. Where that cannot be set they leave a little later.
                let _ = stream.set_nodelay(true);
                return (stream, PeerAddress(address), permit);
            }
            Err(error) => {
                tracing::warn!(error = %error.kind(), "a connection could not be accepted");
                sleep(pause).await;
                pause = (2 * pause).min(MAX_PAUSE);
            }
        }
    }
}

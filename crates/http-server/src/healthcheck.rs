//! A client of `/readyz`: checks whether a running gateway is ready, for container images without shell and curl. This module does
//! not use TLS, because the admin listener does not use it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::admin::READY;

/// The timeout of the health check, which is shorter than the interval of health checks in common orchestrators.
const READINESS_TIMEOUT: Duration = Duration::from_secs(3);

/// The length of `HTTP/1.1 200`.
const STATUS_LINE_LENGTH: usize = 12;

/// Maximum length of the response that is read. That of the gateway is shorter.
const MAX_RESPONSE_LEN: u64 = 4096;

/// Why a gateway is not ready.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The connection failed, or was closed without a response.
    #[error("no response from {0}: {1}; is the gateway running, and is this its server.admin_listen?")]
    Unreachable(SocketAddr, io::Error),
    /// The gateway did not respond in time.
    #[error("{0} did not respond within {wait} seconds", wait = READINESS_TIMEOUT.as_secs())]
    Timeout(SocketAddr),
    /// The gateway responded that it is not ready.
    #[error("the gateway on {0} is not ready (status {1})")]
    NotReady(SocketAddr, String),
    /// Another server responded.
    #[error("the server on {0} is not the admin listener of a gateway; is this its server.admin_listen?")]
    AnotherServer(SocketAddr),
}

/// Checks the readiness at the admin listener with this address. For an unspecified address (0.0.0.0 or ::) it uses the loopback
/// address.
pub async fn check_readiness(address: SocketAddr) -> Result<(), ProbeError> {
    let address = connectable_address(address);
    let response = timeout(READINESS_TIMEOUT, request_readiness(address))
        .await
        .map_err(|_| ProbeError::Timeout(address))?
        .map_err(|error| ProbeError::Unreachable(address, error))?;
    let Some((line, rest)) = response.split_at_checked(STATUS_LINE_LENGTH) else {
        return Err(ProbeError::AnotherServer(address));
    };
    match &line[STATUS_LINE_LENGTH - 3..] {
        b"200" if rest.ends_with(format!("\r\n\r\n{READY}").as_bytes()) => Ok(()),
        b"200" => Err(ProbeError::AnotherServer(address)),
        status => Err(ProbeError::NotReady(address, status.escape_ascii().to_string())),
    }
}

async fn request_readiness(address: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut response = Vec::new();
    stream.take(MAX_RESPONSE_LEN).read_to_end(&mut response).await?;
    if response.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(response) }
}

fn connectable_address(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::super::{ConnectionLimits, PeerAddress, serve};
    use super::*;
    use http::{Request, Response, StatusCode};
    use http_messages::body;
    use tokio::net::TcpListener;

    async fn start_listener(status: StatusCode, text: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = move |request: Request<_>, _: PeerAddress| async move {
            let found = request.uri().path() == "/readyz";
            let mut response = Response::new(body::full(text));
            *response.status_mut() = if found { status } else { StatusCode::NOT_FOUND };
            response
        };
        tokio::spawn(serve(listener, ConnectionLimits::default(), service, std::future::pending()));
        address
    }

    #[tokio::test]
    async fn gateway_is_ready_if_readyz_returns_200() {
        let unspecified = |address: SocketAddr| SocketAddr::from(([0, 0, 0, 0], address.port()));
        check_readiness(unspecified(start_listener(StatusCode::OK, READY).await)).await.unwrap();
        let not_ready = start_listener(StatusCode::SERVICE_UNAVAILABLE, "not ready: draining\n").await;
        let error = check_readiness(not_ready).await.unwrap_err();
        assert!(matches!(&error, ProbeError::NotReady(_, status) if status == "503"), "{error}");
    }

    #[tokio::test]
    async fn another_server_is_not_a_gateway_that_is_ready() {
        for text in ["", "<html>", "not ready\n"] {
            let address = start_listener(StatusCode::OK, text).await;
            let error = check_readiness(address).await.unwrap_err();
            assert!(matches!(error, ProbeError::AnotherServer(_)), "{text}: {error}");
        }
    }

    #[tokio::test]
    async fn gateway_that_does_not_listen_is_unreachable() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert!(matches!(check_readiness(address).await, Err(ProbeError::Unreachable(..))));
    }
}

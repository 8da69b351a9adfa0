//! A client that speaks HTTP/2 from the first byte on (RFC 9113 3.3), several streams over one connection.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::client::Received;

/// One connection.
#[derive(Debug, Clone)]
pub struct Http2 {
    sender: SendRequest<Empty<Bytes>>,
    address: String,
}

impl Http2 {
    /// To whoever listens at `address`, `http://host:port`.
    pub async fn to(address: &str) -> Self {
        let stream = TcpStream::connect(address.strip_prefix("http://").unwrap()).await.unwrap();
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { sender, address: address.to_owned() }
    }

    /// Asks, and leaves the body unread; `None` when there was no answer. Dropping it resets its stream, and no other.
    pub async fn ask(&self, path: &str, headers: &[(&str, &str)]) -> Option<Response<Incoming>> {
        let mut request = Request::get(format!("{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.sender.clone().send_request(request.body(Empty::new()).unwrap()).await.ok()
    }

    /// Asks and reads.
    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Received {
        let mut received = Received { status: 0, headers: Vec::new(), body: Vec::new(), complete: false };
        let Some(response) = self.ask(path, headers).await else { return received };
        received.status = response.status().as_u16();
        let text = |value: &http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
        received.headers =
            response.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        let mut body = response.into_body();
        received.complete = loop {
            match body.frame().await {
                None => break true,
                Some(Err(_)) => break false,
                Some(Ok(frame)) => received.body.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
            }
        };
        received
    }
}

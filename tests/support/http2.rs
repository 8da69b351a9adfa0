//! An HTTP/2 client with prior knowledge (RFC 9113 3.3), which sends several streams over one connection.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::client::ReceivedResponse;

/// A client with one connection.
#[derive(Debug, Clone)]
pub struct Http2Client {
    sender: SendRequest<Empty<Bytes>>,
    base_url: String,
}

impl Http2Client {
    /// Connects to `base_url`, such as `http://127.0.0.1:80`.
    pub async fn connect(base_url: &str) -> Self {
        let stream = TcpStream::connect(base_url.strip_prefix("http://").unwrap()).await.unwrap();
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { sender, base_url: base_url.to_owned() }
    }

    /// Sends GET without reading the body; `None` if there was no response. If the response is dropped, only its stream is reset.
    pub async fn send(&self, path: &str, headers: &[(&str, &str)]) -> Option<Response<Incoming>> {
        let mut request = Request::get(format!("{}{path}", self.base_url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.sender.clone().send_request(request.body(Empty::new()).unwrap()).await.ok()
    }

    /// Sends GET and reads the response; its status is 0 if there was none.
    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> ReceivedResponse {
        let mut received =
            ReceivedResponse { status: 0, headers: Vec::new(), body: Vec::new(), is_complete: false };
        let Some(response) = self.send(path, headers).await else { return received };
        received.status = response.status().as_u16();
        let text = |value: &http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
        received.headers =
            response.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        let mut body = response.into_body();
        received.is_complete = loop {
            match body.frame().await {
                None => break true,
                Some(Err(_)) => break false,
                Some(Ok(frame)) => received.body.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
            }
        };
        received
    }
}

//! An HTTP/1.1 client that sends requests unchanged. If the transfer is aborted, it returns the part of the response that it
//! received.

use std::fmt::Write;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The timeout for a response. It is so long that even on a busy machine only a failing test reaches it.
const TEST_TIMEOUT: Duration = Duration::from_mins(5);

/// A response as it was received.
#[derive(Debug, Clone)]
pub struct ReceivedResponse {
    /// The status; 0 if there was no response.
    pub status: u16,
    /// The headers, with names in lower case.
    pub headers: Vec<(String, String)>,
    /// The part of the body that was received, without chunked framing.
    pub body: Vec<u8>,
    /// Whether the body is complete according to its framing.
    pub is_complete: bool,
}

impl ReceivedResponse {
    /// Returns the value of the header `name`, which is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// Returns the body as text, with invalid UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Parses the body as JSON; panics if it is not JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// Sends GET for `url`.
pub async fn get(url: &str) -> ReceivedResponse {
    send("GET", url, &[]).await
}

/// Sends GET for `url` with headers.
pub async fn get_with_headers(url: &str, headers: &[(&str, &str)]) -> ReceivedResponse {
    send("GET", url, headers).await
}

/// Sends a request without a body, with path and query unchanged, and reads the response.
pub async fn send(method: &str, url: &str, headers: &[(&str, &str)]) -> ReceivedResponse {
    receive(method, send_request(method, url, headers).await).await
}

/// Reads the response to a request with `method` that was sent over `stream`.
pub async fn receive(method: &str, mut stream: TcpStream) -> ReceivedResponse {
    let mut bytes = Vec::new();
    let read_result = tokio::time::timeout(TEST_TIMEOUT, stream.read_to_end(&mut bytes)).await;
    let has_ended = read_result.expect("no response before the timeout").is_ok();
    parse_response(method, &bytes, has_ended)
}

/// Sends a request without reading the response.
pub async fn send_request(method: &str, url: &str, headers: &[(&str, &str)]) -> TcpStream {
    let without_scheme = url.strip_prefix("http://").expect("the URL does not begin with http://");
    let (authority, path) = without_scheme.split_once('/').unwrap_or((without_scheme, ""));
    let mut stream = TcpStream::connect(authority).await.expect("the connection was refused");
    let mut head = format!("{method} /{path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        write!(head, "Host: {authority}\r\n").unwrap();
    }
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await.expect("the connection was closed");
    stream
}

/// Parses a response; `has_ended` is whether the server closed the connection without an error.
fn parse_response(method: &str, bytes: &[u8], has_ended: bool) -> ReceivedResponse {
    let Some(head_length) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return ReceivedResponse { status: 0, headers: Vec::new(), body: Vec::new(), is_complete: false };
    };
    let head = String::from_utf8_lossy(&bytes[..head_length]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or(0);
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let header =
        |name: &str| headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str());
    let content = &bytes[head_length + 4..];
    let (body, is_complete) = if method == "HEAD" || matches!(status, 204 | 304) {
        (content.to_vec(), content.is_empty())
    } else if header("transfer-encoding") == Some("chunked") {
        decode_chunks(content)
    } else if let Some(length) = header("content-length").and_then(|length| length.parse::<usize>().ok()) {
        (content.to_vec(), content.len() == length)
    } else {
        (content.to_vec(), has_ended)
    };
    ReceivedResponse { status, headers, body, is_complete }
}

/// Decodes the chunked transfer coding; also returns whether the body is complete.
fn decode_chunks(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(line_length) = rest.windows(2).position(|window| window == b"\r\n") else {
            return (body, false);
        };
        let size = std::str::from_utf8(&rest[..line_length])
            .ok()
            .and_then(|size| usize::from_str_radix(size, 16).ok());
        let Some(size) = size else { return (body, false) };
        rest = &rest[line_length + 2..];
        if size == 0 {
            return (body, rest.starts_with(b"\r\n"));
        }
        if rest.len() < size + 2 {
            body.extend_from_slice(&rest[..size.min(rest.len())]);
            return (body, false);
        }
        body.extend_from_slice(&rest[..size]);
        rest = &rest[size + 2..];
    }
}

/// Sends POST with a body, and reads the response.
pub async fn post(url: &str, content_type: &str, body: &str) -> ReceivedResponse {
    let length = body.len().to_string();
    let mut stream =
        send_request("POST", url, &[("Content-Type", content_type), ("Content-Length", &length)]).await;
    // A server that rejects the body may close the connection before the whole body is sent.
    let _ = stream.write_all(body.as_bytes()).await;
    receive("POST", stream).await
}

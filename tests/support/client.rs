//! An HTTP/1.1 client that sends requests unchanged, and returns the part of the response that it received if the transfer was
//! aborted.

use std::fmt::Write;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A timeout that is reached only if a test fails, even on a busy machine.
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
    /// Returns the value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Returns the body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Parses the body as JSON.
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

/// Sends a request for `url` with unchanged path and query, and reads the response.
pub async fn send(method: &str, url: &str, headers: &[(&str, &str)]) -> ReceivedResponse {
    receive(method, send_request(method, url, headers).await).await
}

/// Reads the response to a request with `method` that was sent over `stream`.
pub async fn receive(method: &str, mut stream: TcpStream) -> ReceivedResponse {
    let mut bytes = Vec::new();
    let reading = tokio::time::timeout(TEST_TIMEOUT, stream.read_to_end(&mut bytes)).await;
    let has_ended = reading.expect("a response in time").is_ok();
    parse_response(method, &bytes, has_ended)
}

/// Sends a request without reading the response.
pub async fn send_request(method: &str, url: &str, headers: &[(&str, &str)]) -> TcpStream {
    let rest = url.strip_prefix("http://").expect("an http URL");
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut stream = TcpStream::connect(authority).await.expect("a listener");
    let mut head = format!("{method} /{path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        write!(head, "Host: {authority}\r\n").unwrap();
    }
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await.expect("an open connection");
    stream
}

fn parse_response(method: &str, bytes: &[u8], has_ended: bool) -> ReceivedResponse {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return ReceivedResponse { status: 0, headers: Vec::new(), body: Vec::new(), is_complete: false };
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or(0);
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let header =
        |name: &str| headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
    let rest = &bytes[end + 4..];
    let (body, is_complete) = if method == "HEAD" || matches!(status, 204 | 304) {
        (rest.to_vec(), rest.is_empty())
    } else if header("transfer-encoding") == Some("chunked") {
        decode_chunks(rest)
    } else if let Some(length) = header("content-length").and_then(|length| length.parse::<usize>().ok()) {
        (rest.to_vec(), rest.len() == length)
    } else {
        (rest.to_vec(), has_ended)
    };
    ReceivedResponse { status, headers, body, is_complete }
}

/// Decodes the chunked transfer coding; also returns whether the body is complete.
fn decode_chunks(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(line) = rest.windows(2).position(|window| window == b"\r\n") else { return (body, false) };
        let size =
            std::str::from_utf8(&rest[..line]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let Some(size) = size else { return (body, false) };
        rest = &rest[line + 2..];
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

/// Sends POST with a body.
pub async fn post(url: &str, content_type: &str, body: &str) -> ReceivedResponse {
    let length = body.len().to_string();
    let mut stream =
        send_request("POST", url, &[("Content-Type", content_type), ("Content-Length", &length)]).await;
    // A server that rejects the body may close the connection before the whole body is sent.
    let _ = stream.write_all(body.as_bytes()).await;
    let mut bytes = Vec::new();
    let reading = tokio::time::timeout(TEST_TIMEOUT, stream.read_to_end(&mut bytes)).await;
    let has_ended = reading.expect("a response in time").is_ok();
    parse_response("POST", &bytes, has_ended)
}

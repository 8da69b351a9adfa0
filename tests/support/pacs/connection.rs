//! The connections of the scripted archive, which writes HTTP/1.1 directly to the sockets.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::canned_response::{CannedResponse, Framing, ResponseEnd};
use super::{ReceivedRequest, Shared};

/// Responds to all requests of a connection.
pub(super) async fn serve(shared: Arc<Shared>, mut stream: TcpStream) {
    shared.modify(|state| state.connections += 1);
    let mut buffer = Vec::new();
    while let Some(request) = next_request(&mut stream, &mut buffer).await {
        let open_request = OpenRequest::record(Arc::clone(&shared), request.clone());
        let mut response = shared.response_to(&request);
        let behavior = &shared.pacs.behavior;
        if let (Some(bytes), ResponseEnd::Complete) = (behavior.abort_after, response.end) {
            response = response.abort_after(bytes);
        }
        if request.target.contains("/metadata") {
            shared.wait_for_concurrent_requests(behavior.metadata_barrier).await;
        }
        shared.wait_for_release().await;
        let delay = response.delay.or(behavior.delay).unwrap_or_default();
        let is_reusable = wait_while_connected(&mut stream, delay).await
            && send_response(&mut stream, &request, &response).await;
        if response.resets {
            let _ = stream.set_zero_linger();
        }
        drop(open_request);
        if !is_reusable || behavior.close_after_each_response {
            break;
        }
    }
    shared.modify(|state| state.connections -= 1);
}

/// A request that counts as in flight until this value is dropped.
struct OpenRequest(Arc<Shared>);

impl OpenRequest {
    fn record(shared: Arc<Shared>, request: ReceivedRequest) -> Self {
        shared.modify(|state| {
            state.requests.push(request);
            state.open_request_count += 1;
            state.max_open_request_count = state.max_open_request_count.max(state.open_request_count);
        });
        Self(shared)
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.modify(|state| state.open_request_count -= 1);
    }
}

/// Reads the next request, which has no body; `None` if the client has disconnected or the request is invalid.
async fn next_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<ReceivedRequest> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head: Vec<u8> = buffer.drain(..end + 4).collect();
            return parse_head(&String::from_utf8_lossy(&head));
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

fn parse_head(head: &str) -> Option<ReceivedRequest> {
    let mut lines = head.lines();
    let mut request_line = lines.next()?.split(' ');
    let (method, target) = (request_line.next()?.to_owned(), request_line.next()?.to_owned());
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    Some(ReceivedRequest { method, target, headers })
}

/// Waits for `duration`; returns `false` if the client disconnects before it has elapsed.
async fn wait_while_connected(stream: &mut TcpStream, duration: Duration) -> bool {
    if duration.is_zero() {
        return true;
    }
    tokio::select! {
        () = tokio::time::sleep(duration) => true,
        () = wait_for_disconnect(stream) => false,
    }
}

/// Waits until the client disconnects. The client sends no further bytes before it has received the response.
async fn wait_for_disconnect(stream: &mut TcpStream) {
    let mut byte = [0];
    while stream.read(&mut byte).await.is_ok_and(|read| read > 0) {}
}

/// Sends the response; returns whether the connection can be reused.
async fn send_response(stream: &mut TcpStream, request: &ReceivedRequest, response: &CannedResponse) -> bool {
    let send_result = match response.end {
        ResponseEnd::ClosedWithoutResponse => return false,
        ResponseEnd::OpenWithoutResponse => {
            wait_for_disconnect(stream).await;
            return false;
        }
        ResponseEnd::Raw => stream.write_all(&response.body).await,
        ResponseEnd::Endless(repeated_offset) => {
            let _ = stream.write_all(format_head(response).as_bytes()).await;
            let _ = stream.write_all(&response.body).await;
            while stream.write_all(&response.body[repeated_offset..]).await.is_ok() {}
            return false;
        }
        ResponseEnd::Complete | ResponseEnd::ClosedAfter(_) | ResponseEnd::StalledAfter(_) => {
            let sent_length = match response.end {
                ResponseEnd::ClosedAfter(bytes) | ResponseEnd::StalledAfter(bytes) => {
                    bytes.min(response.body.len())
                }
                _ => response.body.len(),
            };
            let body = if request.method == "HEAD" { &[] } else { &response.body[..sent_length] };
            send_body(stream, response, body).await
        }
    };
    match response.end {
        _ if send_result.is_err() => false,
        ResponseEnd::StalledAfter(_) => {
            wait_for_disconnect(stream).await;
            false
        }
        ResponseEnd::Complete => {
            let is_chunked = response.framing == Framing::Chunked;
            let has_ended = !is_chunked || stream.write_all(b"0\r\n\r\n").await.is_ok();
            has_ended && matches!(response.framing, Framing::ContentLength | Framing::Chunked)
        }
        _ => false,
    }
}

/// Sends the head and `body`, which is the part of the body to send.
async fn send_body(stream: &mut TcpStream, response: &CannedResponse, body: &[u8]) -> std::io::Result<()> {
    stream.write_all(format_head(response).as_bytes()).await?;
    let (size, pause) = response.pieces.unwrap_or((body.len().max(1), Duration::ZERO));
    for (index, piece) in body.chunks(size).enumerate() {
        // After the last piece the client may send its next request, which must not be read here.
        if index > 0 && !wait_while_connected(stream, pause).await {
            return Err(std::io::ErrorKind::BrokenPipe.into());
        }
        if response.framing == Framing::Chunked {
            stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await?;
        }
        stream.write_all(piece).await?;
        if response.framing == Framing::Chunked {
            stream.write_all(b"\r\n").await?;
        }
    }
    Ok(())
}

fn format_head(response: &CannedResponse) -> String {
    let mut head = format!("HTTP/1.1 {} Scripted\r\n", response.status);
    for (name, value) in &response.headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    let has_body = !matches!(response.status, 204 | 304);
    match response.framing {
        Framing::ContentLength if has_body => {
            write!(head, "Content-Length: {}\r\n", response.body.len()).unwrap();
        }
        Framing::ContentLength => {}
        Framing::WrongContentLength(length) => write!(head, "Content-Length: {length}\r\n").unwrap(),
        Framing::Chunked => head.push_str("Transfer-Encoding: chunked\r\n"),
        Framing::UntilClose => head.push_str("Connection: close\r\n"),
    }
    head.push_str("\r\n");
    head
}

//! One connection of the scripted archive, which writes HTTP/1.1 directly to the socket.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::canned_response::{CannedResponse, Ends, Framing};
use super::{ReceivedRequest, Shared};

pub(super) async fn serve(shared: Arc<Shared>, mut stream: TcpStream) {
    shared.change(|state| state.connections += 1);
    let mut buffer = Vec::new();
    while let Some(seen) = next_request(&mut stream, &mut buffer).await {
        let answering = Answering::begin(Arc::clone(&shared), seen.clone());
        let mut answer = shared.answer_to(&seen);
        let behavior = &shared.pacs.behavior;
        if let (Some(bytes), Ends::Complete) = (behavior.abort_after, answer.ends) {
            answer = answer.abort_after(bytes);
        }
        if seen.target.contains("/metadata") {
            shared.until_concurrent(behavior.metadata_until).await;
        }
        let pause = answer.slow.or(behavior.slow).unwrap_or_default();
        let reusable = waits(&mut stream, pause).await && sends(&mut stream, &seen, &answer).await;
        drop(answering);
        if !reusable || behavior.close_after_each_response {
            break;
        }
    }
    shared.change(|state| state.connections -= 1);
}

/// Counts a request as in flight until it is dropped.
struct Answering(Arc<Shared>);

impl Answering {
    fn begin(shared: Arc<Shared>, seen: ReceivedRequest) -> Self {
        shared.change(|state| {
            state.seen.push(seen);
            state.answering += 1;
            state.max_answering = state.max_answering.max(state.answering);
        });
        Self(shared)
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.change(|state| state.answering -= 1);
    }
}

async fn next_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<ReceivedRequest> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head: Vec<u8> = buffer.drain(..end + 4).collect();
            return read_head(&String::from_utf8_lossy(&head));
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

fn read_head(head: &str) -> Option<ReceivedRequest> {
    let mut lines = head.lines();
    let mut request = lines.next()?.split(' ');
    let (method, target) = (request.next()?.to_owned(), request.next()?.to_owned());
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    Some(ReceivedRequest { method, target, headers })
}

/// Waits; returns `false` if the client disconnects.
async fn waits(stream: &mut TcpStream, duration: Duration) -> bool {
    if duration.is_zero() {
        return true;
    }
    tokio::select! {
        () = tokio::time::sleep(duration) => true,
        () = disconnected(stream) => false,
    }
}

/// Waits until the client disconnects. The client sends no bytes before it has received the answer.
async fn disconnected(stream: &mut TcpStream) {
    let mut byte = [0];
    while stream.read(&mut byte).await.is_ok_and(|read| read > 0) {}
}

/// Sends the answer; returns whether the connection can be reused.
async fn sends(stream: &mut TcpStream, seen: &ReceivedRequest, answer: &CannedResponse) -> bool {
    let sent = match answer.ends {
        Ends::Unanswered => return false,
        Ends::Silent => {
            disconnected(stream).await;
            return false;
        }
        Ends::Raw => stream.write_all(&answer.body).await,
        Ends::Endless(repeated) => {
            let _ = stream.write_all(head_of(answer).as_bytes()).await;
            let _ = stream.write_all(&answer.body).await;
            while stream.write_all(&answer.body[repeated..]).await.is_ok() {}
            return false;
        }
        Ends::Complete | Ends::Closed(_) | Ends::Stalled(_) => {
            let end = match answer.ends {
                Ends::Closed(bytes) | Ends::Stalled(bytes) => bytes.min(answer.body.len()),
                _ => answer.body.len(),
            };
            let body = if seen.method == "HEAD" { &[] } else { &answer.body[..end] };
            sends_body(stream, answer, body).await
        }
    };
    match answer.ends {
        _ if sent.is_err() => false,
        Ends::Stalled(_) => {
            disconnected(stream).await;
            false
        }
        Ends::Complete => {
            let chunked = answer.framing == Framing::Chunked;
            let ended = !chunked || stream.write_all(b"0\r\n\r\n").await.is_ok();
            ended && matches!(answer.framing, Framing::ContentLength | Framing::Chunked)
        }
        _ => false,
    }
}

async fn sends_body(stream: &mut TcpStream, answer: &CannedResponse, body: &[u8]) -> std::io::Result<()> {
    stream.write_all(head_of(answer).as_bytes()).await?;
    let (size, pause) = answer.in_pieces.unwrap_or((body.len().max(1), Duration::ZERO));
    for (index, piece) in body.chunks(size).enumerate() {
        // After the last piece the client may send its next request, which must not be read here.
        if index > 0 && !waits(stream, pause).await {
            return Err(std::io::ErrorKind::BrokenPipe.into());
        }
        if answer.framing == Framing::Chunked {
            stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await?;
        }
        stream.write_all(piece).await?;
        if answer.framing == Framing::Chunked {
            stream.write_all(b"\r\n").await?;
        }
    }
    Ok(())
}

fn head_of(answer: &CannedResponse) -> String {
    let mut head = format!("HTTP/1.1 {} Scripted\r\n", answer.status);
    for (name, value) in &answer.headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    let has_body = !matches!(answer.status, 204 | 304);
    match answer.framing {
        Framing::ContentLength if has_body => {
            write!(head, "Content-Length: {}\r\n", answer.body.len()).unwrap();
        }
        Framing::ContentLength => {}
        Framing::WrongContentLength(length) => write!(head, "Content-Length: {length}\r\n").unwrap(),
        Framing::Chunked => head.push_str("Transfer-Encoding: chunked\r\n"),
        Framing::UntilClose => head.push_str("Connection: close\r\n"),
    }
    head.push_str("\r\n");
    head
}

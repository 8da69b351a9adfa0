//! Tests the server over real sockets with raw bytes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{ConnectionLimits, DrainResult, PeerAddress, RequestBody, serve};
use http_messages::body::{self, Body};

const SHORT: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_hours(1);
/// Timeout for events that must happen; reached only if a test fails.
const EVENT_TIMEOUT: Duration = Duration::from_mins(5);

fn long_limits() -> ConnectionLimits {
    ConnectionLimits {
        first_byte: LONG,
        head: LONG,
        idle: LONG,
        stall: LONG,
        drain: LONG,
        max_connections: 8,
        max_connections_per_peer: 8,
    }
}

/// Runs `test` with a short timeout and, if it fails, with longer ones: on a busy machine a short timeout can expire
/// before the events that must precede it.
async fn retry_with_longer_timeouts<Test>(test: impl Fn(Duration) -> Test)
where
    Test: Future<Output = ()> + Send + 'static,
{
    for short in [SHORT, 10 * SHORT] {
        if tokio::spawn(test(short)).await.is_ok() {
            return;
        }
    }
    test(100 * SHORT).await;
}

struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<DrainResult>,
    /// Notified when a request for `/slow` has been received.
    slow_request_begun: Arc<Notify>,
    /// Allows the responses to requests for `/slow`.
    release: Arc<Notify>,
}

impl Server {
    async fn start(limits: ConnectionLimits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let (slow_request_begun, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let service = {
            let (slow_request_begun, release) = (Arc::clone(&slow_request_begun), Arc::clone(&release));
            move |request: Request<RequestBody>, _: PeerAddress| {
                respond(request, Arc::clone(&slow_request_begun), Arc::clone(&release))
            }
        };
        let stopped = async move { stopped.await.unwrap_or(()) };
        let task = tokio::spawn(serve(listener, limits, service, stopped));
        Self { address, stop, task, slow_request_begun, release }
    }

    async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.address).await.unwrap())
    }
}

async fn respond(
    request: Request<RequestBody>,
    slow_request_begun: Arc<Notify>,
    release: Arc<Notify>,
) -> Response<Body> {
    let body = match request.uri().path() {
        "/panic" => panic!("deliberate panic"),
        "/slow" => {
            slow_request_begun.notify_one();
            release.notified().await;
            body::full("slow")
        }
        "/large" => body::full(vec![b'x'; 64 << 20]),
        "/echo" => body::full(request.into_body().collect().await.unwrap().to_bytes()),
        _ => body::full("ok"),
    };
    Response::new(body)
}

struct Client(TcpStream);

impl Client {
    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads until the text ends with `end`.
    async fn read_until(&mut self, end: &str) -> String {
        let mut text = String::new();
        while !text.ends_with(end) {
            let mut buffer = [0; 4096];
            let count = timeout(EVENT_TIMEOUT, self.0.read(&mut buffer)).await.unwrap().unwrap();
            assert_ne!(count, 0, "closed after {text}");
            text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        }
        text
    }

    /// Reads until the server closes the connection.
    async fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // A reset also ends the connection.
        let _ = timeout(EVENT_TIMEOUT, self.0.read_to_end(&mut bytes))
            .await
            .expect("the server closes the connection");
        bytes
    }
}

/// Returns the status code of the response to one request.
async fn status(request: &str) -> u16 {
    let server = Server::start(long_limits()).await;
    let mut client = server.connect().await;
    client.send(request).await;
    let mut head = [0; 12];
    timeout(EVENT_TIMEOUT, client.0.read_exact(&mut head)).await.unwrap().unwrap();
    std::str::from_utf8(&head[9..]).unwrap().parse().unwrap()
}

#[tokio::test]
async fn connection_without_a_first_byte_is_closed() {
    let server = Server::start(ConnectionLimits { first_byte: SHORT, ..long_limits() }).await;
    assert!(server.connect().await.read_to_end().await.is_empty());
}

#[tokio::test]
async fn connection_with_an_incomplete_preface_is_closed() {
    let server = Server::start(ConnectionLimits { first_byte: SHORT, ..long_limits() }).await;
    let mut client = server.connect().await;
    client.send("PRI * HTTP/2.0\r\n").await;
    assert!(client.read_to_end().await.is_empty());
}

#[tokio::test]
async fn connection_with_an_incomplete_head_is_closed() {
    let server = Server::start(ConnectionLimits { head: SHORT, ..long_limits() }).await;
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ").await;
    client.read_to_end().await;
}

#[tokio::test]
async fn connection_with_an_incomplete_second_head_is_closed() {
    retry_with_longer_timeouts(|short| async move {
        let server = Server::start(ConnectionLimits { head: short, ..long_limits() }).await;
        let mut client = server.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        client.read_until("ok").await;
        client.send("GET / HTTP/1.1\r\n").await;
        client.read_to_end().await;
    })
    .await;
}

#[tokio::test]
async fn idle_timeout_is_independent_of_the_head_timeout() {
    retry_with_longer_timeouts(|short| async move {
        let server = Server::start(ConnectionLimits { head: short, ..long_limits() }).await;
        let mut client = server.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        client.read_until("ok").await;
        tokio::time::sleep(3 * short).await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        client.read_until("ok").await;

        let server = Server::start(ConnectionLimits { idle: short, ..long_limits() }).await;
        let mut client = server.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(client.read_to_end().await.ends_with(b"ok"));
    })
    .await;
}

#[tokio::test]
async fn slow_response_does_not_expire_the_head_or_idle_timeout() {
    retry_with_longer_timeouts(|short| async move {
        let server = Server::start(ConnectionLimits { head: short, idle: short, ..long_limits() }).await;
        let mut client = server.connect().await;
        client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
        server.slow_request_begun.notified().await;
        tokio::time::sleep(3 * short).await;
        server.release.notify_one();
        client.read_until("slow").await;
    })
    .await;
}

#[tokio::test]
async fn connection_of_a_client_that_does_not_read_is_closed() {
    let server = Server::start(ConnectionLimits { stall: SHORT, ..long_limits() }).await;
    let mut client = server.connect().await;
    client.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await;
    server.stop.send(()).unwrap();
    // The drain has a long timeout; it can only end early if the stalled connection was closed.
    let drained = timeout(EVENT_TIMEOUT, server.task).await.unwrap().unwrap();
    assert_eq!(drained, DrainResult { aborted: 0 });
    assert!(client.read_to_end().await.len() < 64 << 20);
}

#[tokio::test]
async fn drain_completes_requests_in_flight_and_closes_idle_connections() {
    let server = Server::start(long_limits()).await;
    let (mut busy, mut idle, mut unused) =
        (server.connect().await, server.connect().await, server.connect().await);
    idle.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    idle.read_until("ok").await;
    busy.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    server.slow_request_begun.notified().await;
    server.stop.send(()).unwrap();
    assert!(idle.read_to_end().await.is_empty());
    assert!(unused.read_to_end().await.is_empty());
    assert!(TcpStream::connect(server.address).await.is_err(), "the listener is closed");
    server.release.notify_one();
    let response = String::from_utf8(busy.read_to_end().await).unwrap();
    assert!(response.contains("connection: close") && response.ends_with("slow"), "{response}");
    assert_eq!(timeout(EVENT_TIMEOUT, server.task).await.unwrap().unwrap(), DrainResult { aborted: 0 });
}

#[tokio::test]
async fn drain_aborts_connections_after_its_timeout() {
    let server = Server::start(ConnectionLimits { drain: SHORT, ..long_limits() }).await;
    let mut busy = server.connect().await;
    busy.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    server.slow_request_begun.notified().await;
    server.stop.send(()).unwrap();
    assert_eq!(timeout(EVENT_TIMEOUT, server.task).await.unwrap().unwrap(), DrainResult { aborted: 1 });
    assert!(busy.read_to_end().await.is_empty());
}

#[tokio::test]
async fn connection_without_a_permit_waits() {
    let server = Server::start(ConnectionLimits { max_connections: 1, ..long_limits() }).await;
    let mut first = server.connect().await;
    first.send("GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    server.slow_request_begun.notified().await;
    let mut second = server.connect().await;
    second.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    server.release.notify_one();
    first.read_to_end().await;
    second.read_until("ok").await;
}

#[tokio::test]
async fn idle_connection_is_closed_for_a_new_one_if_all_permits_are_taken() {
    let server = Server::start(ConnectionLimits { max_connections: 2, ..long_limits() }).await;
    let mut idle = server.connect().await;
    idle.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    idle.read_until("ok").await;
    let mut busy = server.connect().await;
    busy.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    server.slow_request_begun.notified().await;
    assert!(idle.read_to_end().await.is_empty());
    let mut new = server.connect().await;
    new.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    new.read_until("ok").await;
    server.release.notify_one();
    busy.read_until("slow").await;
}

#[tokio::test]
async fn peer_cannot_take_more_than_its_share_of_the_connections() {
    let server = Server::start(ConnectionLimits { max_connections_per_peer: 1, ..long_limits() }).await;
    let mut busy = server.connect().await;
    busy.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    server.slow_request_begun.notified().await;
    assert!(server.connect().await.read_to_end().await.is_empty());
    server.release.notify_one();
    busy.read_until("slow").await;
    let mut next = server.connect().await;
    next.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    next.read_until("ok").await;
    assert!(busy.read_to_end().await.is_empty(), "the idle connection was not closed for the new one");
}

/// Per stall timeout, the client reads less than the size of the system's send buffer. A client that has unread bytes does not notice
/// the end of its connection, but a second client that waits for the only permit does.
#[tokio::test]
async fn client_that_reads_slowly_but_steadily_is_not_disconnected() {
    retry_with_longer_timeouts(|short| async move {
        let limits = ConnectionLimits { stall: 30 * short, max_connections: 1, ..long_limits() };
        let server = Server::start(limits).await;
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut client = Client(socket.connect(server.address).await.unwrap());
        client.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut buffer = vec![0; 2048];
        for _ in 0..60 {
            client.0.read_exact(&mut buffer).await.unwrap();
            tokio::time::sleep(short).await;
        }
        let mut waiting = server.connect().await;
        waiting.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(timeout(short, waiting.0.read(&mut buffer)).await.is_err(), "the first one is disconnected");
    })
    .await;
}

#[tokio::test]
async fn panic_fails_one_response_and_not_the_connection() {
    let server = Server::start(long_limits()).await;
    let mut client = server.connect().await;
    client.send("GET /panic HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(client.read_until("the server failed\n").await.starts_with("HTTP/1.1 500 "));
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.read_until("ok").await;
}

#[tokio::test]
async fn unread_request_body_does_not_close_the_connection() {
    let server = Server::start(long_limits()).await;
    let mut client = server.connect().await;
    // The second request is rejected before it reaches the service, and the third panics there.
    for (target, status) in
        [("/".to_owned(), 200), (format!("/{}", "a".repeat(50_000)), 414), ("/panic".to_owned(), 500)]
    {
        let length = 1 << 20;
        client.send(&format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")).await;
        client.send(&"x".repeat(length)).await;
        let end = if status == 200 { "ok" } else { "\n" };
        let response = client.read_until(end).await;
        assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{response}");
        assert!(!response.contains("connection: close"), "{response}");
    }
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n").await;
    client.send("0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(client.read_until("ok").await.matches("HTTP/1.1 200").count() >= 1);
}

#[tokio::test]
async fn response_to_a_request_with_an_unread_body_announces_the_close() {
    retry_with_longer_timeouts(|short| async move {
        for (head, limits) in [
            // The body is longer than the server reads and discards.
            ("Content-Length: 1000000000", long_limits()),
            // The client waits for 100 Continue, which the server does not send.
            ("Content-Length: 2\r\nExpect: 100-continue", long_limits()),
            ("Content-Length: 2", ConnectionLimits { head: short, ..long_limits() }),
            ("Transfer-Encoding: chunked", ConnectionLimits { head: short, ..long_limits() }),
        ] {
            let server = Server::start(limits).await;
            let mut client = server.connect().await;
            client.send(&format!("POST / HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n")).await;
            let response = String::from_utf8(client.read_to_end().await).unwrap();
            assert!(response.starts_with("HTTP/1.1 200 "), "{head}\n{response}");
            assert!(response.contains("connection: close") && response.ends_with("ok"), "{head}\n{response}");
        }
    })
    .await;
}

#[tokio::test]
async fn http2_is_served_with_prior_knowledge() {
    let server = Server::start(long_limits()).await;
    let stream = hyper_util::rt::TokioIo::new(TcpStream::connect(server.address).await.unwrap());
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut client, connection) = hyper::client::conn::http2::handshake(executor, stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = |address: &str, host: Option<&str>| {
        let request = Request::get(address);
        let request = host.map_or(Request::get(address), |host| request.header("host", host));
        request.body(body::empty()).unwrap()
    };
    for (address, host, status) in [
        ("http://a/", None, 200),
        ("http://a/", Some("A"), 200),
        ("http://a/", Some("b"), 400),
        ("http://a/panic", None, 500),
        ("http://a/", None, 200),
    ] {
        let response = client.send_request(request(address, host)).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{address} {host:?}");
    }
    server.stop.send(()).unwrap();
    timeout(EVENT_TIMEOUT, connection).await.unwrap().unwrap().unwrap();
    assert_eq!(timeout(EVENT_TIMEOUT, server.task).await.unwrap().unwrap(), DrainResult { aborted: 0 });
}

#[tokio::test]
async fn idle_http2_connection_is_closed() {
    let server = Server::start(ConnectionLimits { idle: SHORT, ..long_limits() }).await;
    let mut client = server.connect().await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    client.read_to_end().await;
}

#[tokio::test]
async fn http2_connection_of_a_client_that_does_not_read_is_closed() {
    retry_with_longer_timeouts(|short| async move {
        let server = Server::start(ConnectionLimits { idle: short, ..long_limits() }).await;
        let mut client = server.connect().await;
        let settings = "\0\0\0\x04\0\0\0\0\0";
        // HPACK: GET, http, "/large", authority "a". The client never extends the window, so it receives only 64 KiB.
        let headers = "\0\0\x0d\x01\x05\0\0\0\x01";
        client.send(&format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{settings}{headers}")).await;
        client.0.write_all(b"\x82\x86\x04\x06/large\x41\x01a").await.unwrap();
        let received = client.read_to_end().await.len();
        assert!((64 << 10..128 << 10).contains(&received), "{received}");
    })
    .await;
}

/// Notifies when it is dropped.
struct DropNotice(Arc<Notify>);

impl Drop for DropNotice {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

#[tokio::test]
async fn http2_response_is_dropped_if_the_client_reads_nothing_from_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let dropped = Arc::new(Notify::new());
    let service = {
        let dropped = Arc::clone(&dropped);
        move |_: Request<RequestBody>, _: PeerAddress| {
            let notice = DropNotice(Arc::clone(&dropped));
            let frames = futures_util::stream::repeat_with(move || {
                assert!(Arc::strong_count(&notice.0) > 0);
                Ok::<_, std::convert::Infallible>(hyper::body::Frame::data(bytes::Bytes::from_static(b"x")))
            });
            std::future::ready(Response::new(body::streamed(http_body_util::StreamBody::new(frames))))
        }
    };
    let limits = ConnectionLimits { stall: SHORT, ..long_limits() };
    let server = tokio::spawn(serve(listener, limits, service, std::future::pending()));
    for initial_window in ["\0\0\0\0", "\0\0\x40\0"] {
        let mut client = Client(TcpStream::connect(address).await.unwrap());
        // SETTINGS with SETTINGS_INITIAL_WINDOW_SIZE, which the client never extends; then HPACK: GET, http, "/large", authority "a".
        let settings = format!("\0\0\x06\x04\0\0\0\0\0\0\x04{initial_window}");
        client.send(&format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{settings}\0\0\x0d\x01\x05\0\0\0\x01")).await;
        client.0.write_all(b"\x82\x86\x04\x06/large\x41\x01a").await.unwrap();
        timeout(EVENT_TIMEOUT, dropped.notified()).await.expect("the response is dropped");
    }
    server.abort();
}

#[tokio::test]
async fn slow_http2_response_does_not_expire_the_idle_timeout() {
    retry_with_longer_timeouts(|short| async move {
        let server = Server::start(ConnectionLimits { idle: short, ..long_limits() }).await;
        let stream = hyper_util::rt::TokioIo::new(TcpStream::connect(server.address).await.unwrap());
        let executor = hyper_util::rt::TokioExecutor::new();
        let (mut client, connection) = hyper::client::conn::http2::handshake(executor, stream).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get("http://a/slow").body(body::empty()).unwrap();
        let response = tokio::spawn(client.send_request(request));
        server.slow_request_begun.notified().await;
        tokio::time::sleep(5 * short).await;
        server.release.notify_one();
        assert_eq!(response.await.unwrap().unwrap().status().as_u16(), 200);
    })
    .await;
}

#[tokio::test]
async fn ambiguous_requests_are_rejected() {
    for (request, expected) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        ("GET / HTTP/1.0\r\n\r\n", 200),
        ("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        ("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET http://a/ HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a/../b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: good@evil\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
        ("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 501),
        ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        ("TRACK / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", 200),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    ] {
        assert_eq!(status(request).await, expected, "{request}");
    }
}

#[tokio::test]
async fn large_heads_are_rejected_at_their_limits() {
    let target = |length: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(length - 1));
    assert_eq!(status(&target(48 * 1024)).await, 200);
    assert_eq!(status(&target(48 * 1024 + 1)).await, 414);
    let fields = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(count - 1));
    assert_eq!(status(&fields(64)).await, 200);
    assert_eq!(status(&fields(65)).await, 431);
    let size = |size: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(size - 6));
    assert_eq!(status(&size(16 * 1024)).await, 200);
    assert_eq!(status(&size(16 * 1024 + 1)).await, 431);
}

#[tokio::test]
async fn request_smuggling_is_rejected() {
    // Some parsers read the following request for /panic as a body.
    for (request, expected) in [
        (
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            200,
        ),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n", 400),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n", 400),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", 400),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n", 400),
        ("POST /echo HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\n folded: x\r\n\r\n", 400),
    ] {
        let server = Server::start(long_limits()).await;
        let mut client = server.connect().await;
        client.send(request).await;
        client.send("GET /panic HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let responses = String::from_utf8(client.read_to_end().await).unwrap();
        assert_eq!(responses.matches("HTTP/1.").count(), 1, "{request}\n{responses}");
        assert_eq!(responses[9..12].parse::<u16>().unwrap(), expected, "{request}\n{responses}");
    }
}

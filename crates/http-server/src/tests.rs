//! The server over real sockets, with raw bytes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{ConnectionLimits, Drained, PeerAddress, RequestBody, serve};
use http_messages::body::{self, Body};

const SOON: Duration = Duration::from_millis(100);
const LATE: Duration = Duration::from_hours(1);
/// For what must happen some time; reached only when a test fails.
const READINESS_TIMEOUT: Duration = Duration::from_mins(5);

fn patient() -> ConnectionLimits {
    ConnectionLimits {
        first_byte: LATE,
        head: LATE,
        idle: LATE,
        stall: LATE,
        drain: LATE,
        max_connections: 8,
    }
}

/// Runs `test` with a short time and, where it fails, with longer ones: how short a time may be that other things must not
/// reach depends on how busy the machine is.
async fn at_any_speed<Test>(test: impl Fn(Duration) -> Test)
where
    Test: Future<Output = ()> + Send + 'static,
{
    for soon in [SOON, 10 * SOON] {
        if tokio::spawn(test(soon)).await.is_ok() {
            return;
        }
    }
    test(100 * SOON).await;
}

struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Drained>,
    /// A request for `/slow` has begun.
    begun: Arc<Notify>,
    /// Lets requests for `/slow` be answered.
    release: Arc<Notify>,
}

impl Server {
    async fn start(limits: ConnectionLimits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let (begun, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let service = {
            let (begun, release) = (Arc::clone(&begun), Arc::clone(&release));
            move |request: Request<RequestBody>, _: PeerAddress| {
                answer(request, Arc::clone(&begun), Arc::clone(&release))
            }
        };
        let stopped = async move { stopped.await.unwrap_or(()) };
        let serving = tokio::spawn(serve(listener, limits, service, stopped));
        Self { address, stop, serving, begun, release }
    }

    async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.address).await.unwrap())
    }
}

async fn answer(request: Request<RequestBody>, begun: Arc<Notify>, release: Arc<Notify>) -> Response<Body> {
    let body = match request.uri().path() {
        "/panic" => panic!("a request that breaks the service"),
        "/slow" => {
            begun.notify_one();
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

    /// Reads until `end` has come.
    async fn read_until(&mut self, end: &str) -> String {
        let mut text = String::new();
        while !text.ends_with(end) {
            let mut buffer = [0; 4096];
            let count = timeout(READINESS_TIMEOUT, self.0.read(&mut buffer)).await.unwrap().unwrap();
            assert_ne!(count, 0, "closed after {text}");
            text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        }
        text
    }

    /// Reads what comes until the server closes.
    async fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // A reset is an end as well.
        let _ = timeout(READINESS_TIMEOUT, self.0.read_to_end(&mut bytes))
            .await
            .expect("the server does not close");
        bytes
    }
}

/// The status line of the answer to one request, whatever becomes of the connection.
async fn status(request: &str) -> u16 {
    let server = Server::start(patient()).await;
    let mut client = server.connect().await;
    client.send(request).await;
    let mut head = [0; 12];
    timeout(READINESS_TIMEOUT, client.0.read_exact(&mut head)).await.unwrap().unwrap();
    std::str::from_utf8(&head[9..]).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_silent_connection_is_closed() {
    let server = Server::start(ConnectionLimits { first_byte: SOON, ..patient() }).await;
    assert!(server.connect().await.read_to_end().await.is_empty());
}

#[tokio::test]
async fn half_a_preface_is_closed() {
    let server = Server::start(ConnectionLimits { first_byte: SOON, ..patient() }).await;
    let mut client = server.connect().await;
    client.send("PRI * HTTP/2.0\r\n").await;
    assert!(client.read_to_end().await.is_empty());
}

#[tokio::test]
async fn a_head_that_does_not_end_is_closed() {
    let server = Server::start(ConnectionLimits { head: SOON, ..patient() }).await;
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ").await;
    client.read_to_end().await;
}

#[tokio::test]
async fn a_second_head_that_does_not_end_is_closed() {
    at_any_speed(|soon| async move {
        let server = Server::start(ConnectionLimits { head: soon, ..patient() }).await;
        let mut client = server.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        client.read_until("ok").await;
        client.send("GET / HTTP/1.1\r\n").await;
        client.read_to_end().await;
    })
    .await;
}

#[tokio::test]
async fn idleness_has_a_clock_of_its_own() {
    at_any_speed(|soon| async move {
        let server = Server::start(ConnectionLimits { head: soon, ..patient() }).await;
        let mut client = server.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        client.read_until("ok").await;
        tokio::time::sleep(3 * soon).await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        client.read_until("ok").await;

        let server = Server::start(ConnectionLimits { idle: soon, ..patient() }).await;
        let mut client = server.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(client.read_to_end().await.ends_with(b"ok"));
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_takes_long_is_not_taken_for_a_slow_head() {
    at_any_speed(|soon| async move {
        let server = Server::start(ConnectionLimits { head: soon, idle: soon, ..patient() }).await;
        let mut client = server.connect().await;
        client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
        server.begun.notified().await;
        tokio::time::sleep(3 * soon).await;
        server.release.notify_one();
        client.read_until("slow").await;
    })
    .await;
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_closed() {
    let server = Server::start(ConnectionLimits { stall: SOON, ..patient() }).await;
    let mut client = server.connect().await;
    client.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await;
    server.stop.send(()).unwrap();
    // The drain waits for connections without end here; that it ends says that the stalled one was closed.
    let drained = timeout(READINESS_TIMEOUT, server.serving).await.unwrap().unwrap();
    assert_eq!(drained, Drained { cut: 0 });
    assert!(client.read_to_end().await.len() < 64 << 20);
}

#[tokio::test]
async fn the_drain_finishes_what_is_under_way_and_closes_what_is_idle() {
    let server = Server::start(patient()).await;
    let (mut busy, mut idle, mut silent) =
        (server.connect().await, server.connect().await, server.connect().await);
    idle.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    idle.read_until("ok").await;
    busy.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    server.begun.notified().await;
    server.stop.send(()).unwrap();
    assert!(idle.read_to_end().await.is_empty());
    assert!(silent.read_to_end().await.is_empty());
    assert!(TcpStream::connect(server.address).await.is_err(), "nobody listens any more");
    server.release.notify_one();
    let answer = String::from_utf8(busy.read_to_end().await).unwrap();
    assert!(answer.contains("connection: close") && answer.ends_with("slow"), "{answer}");
    assert_eq!(timeout(READINESS_TIMEOUT, server.serving).await.unwrap().unwrap(), Drained { cut: 0 });
}

#[tokio::test]
async fn the_drain_has_an_end() {
    let server = Server::start(ConnectionLimits { drain: SOON, ..patient() }).await;
    let mut busy = server.connect().await;
    busy.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    server.begun.notified().await;
    server.stop.send(()).unwrap();
    assert_eq!(timeout(READINESS_TIMEOUT, server.serving).await.unwrap().unwrap(), Drained { cut: 1 });
    assert!(busy.read_to_end().await.is_empty());
}

#[tokio::test]
async fn a_connection_without_a_permit_waits() {
    let server = Server::start(ConnectionLimits { max_connections: 1, ..patient() }).await;
    let mut first = server.connect().await;
    first.send("GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    server.begun.notified().await;
    let mut second = server.connect().await;
    second.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    server.release.notify_one();
    first.read_to_end().await;
    second.read_until("ok").await;
}

#[tokio::test]
async fn a_panic_breaks_one_answer_and_not_the_connection() {
    let server = Server::start(patient()).await;
    let mut client = server.connect().await;
    client.send("GET /panic HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(client.read_until("the server failed\n").await.starts_with("HTTP/1.1 500 "));
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.read_until("ok").await;
}

#[tokio::test]
async fn a_body_that_nobody_reads_does_not_cost_the_connection() {
    let server = Server::start(patient()).await;
    let mut client = server.connect().await;
    // The second, third and fourth are answered without the service: a target that is too long, a panic.
    for (target, status) in
        [("/".to_owned(), 200), (format!("/{}", "a".repeat(9_000)), 414), ("/panic".to_owned(), 500)]
    {
        let length = 1 << 20;
        client.send(&format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")).await;
        client.send(&"x".repeat(length)).await;
        let end = if status == 200 { "ok" } else { "\n" };
        let answer = client.read_until(end).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(!answer.contains("connection: close"), "{answer}");
    }
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n").await;
    client.send("0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(client.read_until("ok").await.matches("HTTP/1.1 200").count() >= 1);
}

#[tokio::test]
async fn an_answer_that_leaves_a_body_behind_says_that_the_connection_ends() {
    at_any_speed(|soon| async move {
        for (head, limits) in [
            // Too much to read for nothing.
            ("Content-Length: 1000000000", patient()),
            // Nothing is sent before the server asks for it, and the server does not.
            ("Content-Length: 2\r\nExpect: 100-continue", patient()),
            ("Content-Length: 2", ConnectionLimits { head: soon, ..patient() }),
            ("Transfer-Encoding: chunked", ConnectionLimits { head: soon, ..patient() }),
        ] {
            let server = Server::start(limits).await;
            let mut client = server.connect().await;
            client.send(&format!("POST / HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n")).await;
            let answer = String::from_utf8(client.read_to_end().await).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 "), "{head}\n{answer}");
            assert!(answer.contains("connection: close") && answer.ends_with("ok"), "{head}\n{answer}");
        }
    })
    .await;
}

#[tokio::test]
async fn http2_is_spoken_by_prior_knowledge() {
    let server = Server::start(patient()).await;
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
        let answer = client.send_request(request(address, host)).await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{address} {host:?}");
    }
    server.stop.send(()).unwrap();
    timeout(READINESS_TIMEOUT, connection).await.unwrap().unwrap().unwrap();
    assert_eq!(timeout(READINESS_TIMEOUT, server.serving).await.unwrap().unwrap(), Drained { cut: 0 });
}

#[tokio::test]
async fn an_idle_http2_connection_is_closed() {
    let server = Server::start(ConnectionLimits { idle: SOON, ..patient() }).await;
    let mut client = server.connect().await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    client.read_to_end().await;
}

#[tokio::test]
async fn an_http2_stream_that_nobody_reads_is_closed() {
    at_any_speed(|soon| async move {
        let server = Server::start(ConnectionLimits { idle: soon, ..patient() }).await;
        let mut client = server.connect().await;
        let settings = "\0\0\0\x04\0\0\0\0\0";
        // HPACK: GET, http, "/large", authority "a". The window stays as it is, so 64 KiB come and no more.
        let headers = "\0\0\x0d\x01\x05\0\0\0\x01";
        client.send(&format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{settings}{headers}")).await;
        client.0.write_all(b"\x82\x86\x04\x06/large\x41\x01a").await.unwrap();
        let received = client.read_to_end().await.len();
        assert!((64 << 10..128 << 10).contains(&received), "{received}");
    })
    .await;
}

#[tokio::test]
async fn an_http2_answer_that_takes_long_is_waited_for() {
    at_any_speed(|soon| async move {
        let server = Server::start(ConnectionLimits { idle: soon, ..patient() }).await;
        let stream = hyper_util::rt::TokioIo::new(TcpStream::connect(server.address).await.unwrap());
        let executor = hyper_util::rt::TokioExecutor::new();
        let (mut client, connection) = hyper::client::conn::http2::handshake(executor, stream).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get("http://a/slow").body(body::empty()).unwrap();
        let answer = tokio::spawn(client.send_request(request));
        server.begun.notified().await;
        tokio::time::sleep(5 * soon).await;
        server.release.notify_one();
        assert_eq!(answer.await.unwrap().unwrap().status().as_u16(), 200);
    })
    .await;
}

#[tokio::test]
async fn what_could_be_read_in_two_ways_is_turned_away() {
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
async fn large_heads_are_refused_at_their_limits() {
    let target = |length: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(length - 1));
    assert_eq!(status(&target(8 * 1024)).await, 200);
    assert_eq!(status(&target(8 * 1024 + 1)).await, 414);
    let fields = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(count - 1));
    assert_eq!(status(&fields(64)).await, 200);
    assert_eq!(status(&fields(65)).await, 431);
    let size = |size: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(size - 6));
    assert_eq!(status(&size(16 * 1024)).await, 200);
    assert_eq!(status(&size(16 * 1024 + 1)).await, 431);
}

#[tokio::test]
async fn no_byte_of_one_request_becomes_another() {
    // Each of them hides a request for /panic in what one reader takes for a body and another does not.
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
        let server = Server::start(patient()).await;
        let mut client = server.connect().await;
        client.send(request).await;
        client.send("GET /panic HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let answers = String::from_utf8(client.read_to_end().await).unwrap();
        assert_eq!(answers.matches("HTTP/1.").count(), 1, "{request}\n{answers}");
        assert_eq!(answers[9..12].parse::<u16>().unwrap(), expected, "{request}\n{answers}");
    }
}

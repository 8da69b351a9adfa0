//! Connections that fail before they have received a request, over real sockets: the metrics of the admin listener count each with its
//! reason, and do not count connections that clients close while they are idle.

use std::time::Duration;

use http::{Request, Response};
use http_messages::body::Body;
use http_server::{Admin, AdminState, ConnectionLimits, RequestBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::client;
use crate::support::gateway::{CONNECTION_LIMITS, RunningGateway};
use crate::support::pacs::{CannedResponse, Pacs, RunningPacs};

const SHORT: Duration = Duration::from_millis(100);

/// The timeout for a metric, which is reached only if a test fails.
const METRIC_TIMEOUT: Duration = Duration::from_mins(5);

const REASONS: [&str; 5] = ["malformed", "head_too_large", "timeout", "disconnected", "tls"];

const REQUEST: &str = "GET /dicom-web/main/studies/1.2/bulkdata/1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";

/// The HTTP/2 connection preface and an empty SETTINGS frame.
const HTTP2_START: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A gateway with an admin listener that reports its metrics.
struct Fixture {
    gateway: RunningGateway,
    admin_url: String,
    _pacs: RunningPacs,
}

struct MetricsPage(dicomweb_gateway::telemetry::Metrics);

impl AdminState for MetricsPage {
    fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    async fn metrics(&self) -> String {
        self.0.to_text()
    }

    fn has_action(&self, _: &str) -> bool {
        false
    }

    async fn post(&self, _: Request<RequestBody>) -> Option<Response<Body>> {
        None
    }
}

impl Fixture {
    /// Starts a gateway in front of an archive that responds to [`REQUEST`] with `response`.
    async fn start(limits: ConnectionLimits, config: &str, response: CannedResponse) -> Self {
        let pacs = Pacs::new().with_response("/studies/1.2/bulkdata/1", response).start().await;
        let gateway = RunningGateway::start_with_limits(limits, &pacs.url(), config).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin_url = format!("http://{}", listener.local_addr().unwrap());
        let admin = Admin(MetricsPage(gateway.shared_metrics()));
        tokio::spawn(http_server::serve(listener, CONNECTION_LIMITS, admin, std::future::pending()));
        Self { gateway, admin_url, _pacs: pacs }
    }

    async fn with_limits(limits: ConnectionLimits) -> Self {
        Self::start(limits, "", CannedResponse::status(404)).await
    }

    async fn with_tls(limits: ConnectionLimits) -> Self {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls");
        let tls = format!("[server.tls]\ncert = \"{folder}/server.pem\"\nkey = \"{folder}/server.key\"\n");
        Self::start(limits, &tls, CannedResponse::status(404)).await
    }

    /// Connects and sends `bytes`.
    async fn send(&self, bytes: impl AsRef<[u8]>) -> TcpStream {
        let (_, address) = self.gateway.base_url().split_once("://").unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes.as_ref()).await.unwrap();
        stream
    }

    /// Waits until the metrics contain `line`.
    async fn wait_for(&self, line: &str) {
        let url = format!("{}/metrics", self.admin_url);
        let waiting =
            async { while !client::get(&url).await.text().lines().any(|candidate| candidate == line) {} };
        let result = tokio::time::timeout(METRIC_TIMEOUT, waiting).await;
        assert!(result.is_ok(), "no line {line} in {}", client::get(&url).await.text());
    }

    /// Waits until all connections are closed, and asserts that those of `reason` that failed are `count`, and no others.
    async fn assert_failures(&self, reason: &str, count: usize) {
        self.wait_for("gateway_connections 0").await;
        for other in REASONS {
            let count = if other == reason { count } else { 0 };
            let line = format!("gateway_connection_failures_total{{reason=\"{other}\"}} {count}");
            let text = client::get(&format!("{}/metrics", self.admin_url)).await.text();
            assert!(text.lines().any(|candidate| candidate == line), "no line {line} in {text}");
        }
    }

    /// Waits for the failure of the connection that `stream` belongs to, which is the `count`th of `reason`.
    async fn wait_for_failure(&self, reason: &str, count: usize) {
        self.wait_for(&format!("gateway_connection_failures_total{{reason=\"{reason}\"}} {count}")).await;
        self.assert_failures(reason, count).await;
    }
}

/// Reads until the server closes or resets the connection.
async fn read_to_end(mut stream: TcpStream) {
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

/// Reads the start of a response.
async fn read_start(stream: &mut TcpStream) {
    assert_ne!(stream.read(&mut vec![0; 65536]).await.unwrap(), 0);
}

/// Closes a connection with a reset.
fn reset(stream: &TcpStream) {
    stream.set_zero_linger().unwrap();
}

#[tokio::test]
async fn malformed_heads_and_http2_frames_are_counted() {
    let fixture = Fixture::with_limits(CONNECTION_LIMITS).await;
    // A HEADERS frame on stream 0 (RFC 9113 6.2).
    let http2 = format!("{HTTP2_START}\0\0\x01\x01\x05\0\0\0\0x");
    let second_head = format!("{REQUEST}GET / HTTP/1.1\r\nHost : a\r\n\r\n");
    let tls_handshake = "\x16\x03\x01\0\x05\x01\0\0\x01\0";
    let cases =
        ["nonsense\r\n\r\n", "GET / HTTP/1.1\r\nno colon\r\n\r\n", &second_head, &http2, tls_handshake];
    for (number, bytes) in (1..).zip(cases) {
        read_to_end(fixture.send(bytes).await).await;
        fixture.wait_for_failure("malformed", number).await;
    }
}

#[tokio::test]
async fn too_large_heads_are_counted() {
    let fixture = Fixture::with_limits(CONNECTION_LIMITS).await;
    let many_headers = "a: b\r\n".repeat(200);
    let cases = [
        format!("GET / HTTP/1.1\r\nHost: a\r\n{many_headers}\r\n"),
        format!("GET / HTTP/1.1\r\nHost: {}", "a".repeat(64 * 1024)),
    ];
    for (number, bytes) in (1..).zip(cases) {
        let stream = fixture.send(bytes).await;
        fixture.wait_for("gateway_connections 0").await;
        drop(stream);
        fixture.wait_for_failure("head_too_large", number).await;
    }
}

#[tokio::test]
async fn heads_and_handshakes_that_are_too_slow_are_counted() {
    let limits = ConnectionLimits { head: SHORT, first_byte: SHORT, ..CONNECTION_LIMITS };
    let fixture = Fixture::with_limits(limits.clone()).await;
    for (number, bytes) in (1..).zip(["GET / HTTP/1.1\r\nHost:", "PRI * HT"]) {
        read_to_end(fixture.send(bytes).await).await;
        fixture.wait_for_failure("timeout", number).await;
    }
    let mut stream = fixture.send(REQUEST).await;
    read_start(&mut stream).await;
    stream.write_all(b"GET").await.unwrap();
    read_to_end(stream).await;
    fixture.wait_for_failure("timeout", 3).await;
    let fixture = Fixture::with_tls(limits).await;
    read_to_end(fixture.send("\x16\x03\x01").await).await;
    fixture.wait_for_failure("timeout", 1).await;
}

#[tokio::test]
async fn a_head_that_the_idle_timeout_interrupts_is_counted() {
    let fixture = Fixture::with_limits(ConnectionLimits { idle: SHORT, ..CONNECTION_LIMITS }).await;
    read_to_end(fixture.send("GET / HTTP/1.1\r\nHost:").await).await;
    fixture.wait_for_failure("timeout", 1).await;
}

#[tokio::test]
async fn disconnections_in_a_head_are_counted() {
    let fixture = Fixture::with_limits(CONNECTION_LIMITS).await;
    // The first five bytes of the payload of a HEADERS frame, which has 13.
    let http2 = format!("{HTTP2_START}\0\0\x0d\x01\x05\0\0\0\x01abcde");
    for (number, bytes) in (1..).zip(["G", "GET / HTTP/1.1\r\nHost:", "PRI * HT", &http2]) {
        let mut stream = fixture.send(bytes).await;
        // A close while bytes of the server are unread would be a reset.
        stream.shutdown().await.unwrap();
        read_to_end(stream).await;
        fixture.wait_for_failure("disconnected", number).await;
    }
    let mut stream = fixture.send(REQUEST).await;
    read_start(&mut stream).await;
    stream.write_all(b"GET").await.unwrap();
    drop(stream);
    fixture.wait_for_failure("disconnected", 5).await;
    let stream = fixture.send("GET / HTTP/1.1\r\nHost:").await;
    reset(&stream);
    drop(stream);
    fixture.wait_for_failure("disconnected", 6).await;
}

#[tokio::test]
async fn failed_tls_handshakes_are_counted() {
    let fixture = Fixture::with_tls(CONNECTION_LIMITS).await;
    read_to_end(fixture.send(REQUEST).await).await;
    fixture.wait_for_failure("tls", 1).await;
    drop(fixture.send("\x16\x03\x01").await);
    fixture.wait_for_failure("tls", 2).await;
    let client_without_ca = reqwest::Client::builder().no_proxy().build().unwrap();
    assert!(client_without_ca.get(fixture.gateway.base_url()).send().await.is_err());
    fixture.wait_for_failure("tls", 3).await;
}

#[tokio::test]
async fn connections_that_clients_close_while_idle_are_not_counted() {
    for fixture in [Fixture::with_limits(CONNECTION_LIMITS).await, Fixture::with_tls(CONNECTION_LIMITS).await]
    {
        for closes_with_reset in [false, true] {
            let stream = fixture.send("").await;
            fixture.wait_for("gateway_connections 1").await;
            if closes_with_reset {
                reset(&stream);
            }
            drop(stream);
            fixture.assert_failures("none", 0).await;
        }
    }
    let fixture = Fixture::with_limits(CONNECTION_LIMITS).await;
    for bytes in [REQUEST, HTTP2_START, &format!("{REQUEST}\r\n")] {
        for closes_with_reset in [false, true] {
            let mut stream = fixture.send(bytes).await;
            read_start(&mut stream).await;
            if closes_with_reset {
                reset(&stream);
            }
            drop(stream);
            fixture.assert_failures("none", 0).await;
        }
    }
}

#[tokio::test]
async fn connections_that_the_gateway_closes_while_idle_are_not_counted() {
    let limits = ConnectionLimits { first_byte: SHORT, idle: SHORT, ..CONNECTION_LIMITS };
    for fixture in [Fixture::with_limits(limits.clone()).await, Fixture::with_tls(limits.clone()).await] {
        read_to_end(fixture.send("").await).await;
        fixture.assert_failures("none", 0).await;
    }
    let fixture = Fixture::with_limits(limits).await;
    for bytes in [REQUEST, HTTP2_START] {
        read_to_end(fixture.send(bytes).await).await;
        fixture.assert_failures("none", 0).await;
    }
}

#[tokio::test]
async fn connections_that_end_during_a_response_are_not_counted() {
    let start = |limits| {
        let body = vec![b'x'; 32 << 20];
        Fixture::start(limits, "", CannedResponse::bytes("application/octet-stream", body))
    };
    let fixture = start(ConnectionLimits { stall: SHORT, ..CONNECTION_LIMITS }).await;
    let mut stream = fixture.send(REQUEST).await;
    read_start(&mut stream).await;
    fixture.assert_failures("none", 0).await;
    drop(stream);
    let fixture = start(CONNECTION_LIMITS).await;
    let mut stream = fixture.send(REQUEST).await;
    read_start(&mut stream).await;
    drop(stream);
    fixture.assert_failures("none", 0).await;
}

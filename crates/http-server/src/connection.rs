//! Serves one connection from its first byte to its end: detects the protocol version, serves requests, and enforces timeouts and
//! the drain. This module does not know about routes.

use std::convert::Infallible;
use std::future::ready;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::Either;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::activity::{Activity, ResponseBody};
use super::connection_error::failure_of;
use super::open_connections::AdmittedConnection;
use super::protocol_detection::DetectedProtocol;
use super::request_body::wrap_body;
use super::request_validation::{MAX_HEAD_SIZE, MAX_TARGET_LEN, validate};
use super::stream_body::{OpenStreams, StreamBody};
use super::timed_stream::TimedStream;
use super::tls::{Tls, has_negotiated_http2};
use super::{ConnectionFailure, ConnectionLimits, PeerAddress, Service, internal_error, rejection};

/// The size in bytes of hyper's buffers for unread responses and for incomplete heads.
const BUFFER_SIZE: usize = 64 * 1024;

/// Maximum number of concurrent requests of an HTTP/2 connection. Viewers send about this number at once.
const MAX_STREAMS: u32 = 100;

/// The HTTP/2 window of a request body in bytes. Request bodies are searches of a few kilobytes; with a larger window clients
/// could only fill memory.
const REQUEST_WINDOW: u32 = 64 * 1024;

/// Maximum size of an HTTP/2 header list in bytes, which includes the target: the limits of the request validation together. A larger
/// list is rejected while it is read.
#[expect(clippy::cast_possible_truncation, reason = "64 KiB")]
const MAX_HEADER_LIST: u32 = (MAX_TARGET_LEN + MAX_HEAD_SIZE) as u32;

/// The interval and the timeout of HTTP/2 pings, which detect clients that disappeared.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// Serves `stream` until the client, a timer, or the end of the drain closes it.
pub(super) async fn serve_connection<S: Service>(
    mut stream: TcpStream,
    peer: PeerAddress,
    admitted: AdmittedConnection,
    limits: &ConnectionLimits,
    service: Arc<S>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), ConnectionFailure> {
    let mut protocol = DetectedProtocol::default();
    let detection = tokio::select! {
        detection = timeout(limits.first_byte, protocol.detect(&mut stream)) => detection,
        // No request has been received, so none is lost.
        _ = stop.wait_for(|stop| *stop) => return Ok(()),
        () = admitted.wait_for_close_request() => return Ok(()),
    };
    match detection {
        Ok(Ok(())) => serve_protocol(stream, protocol, peer, admitted, limits, service, stop).await,
        _ if protocol.opening.is_empty() => Ok(()),
        Ok(Err(_)) => Err(ConnectionFailure::Disconnected),
        Err(_) => Err(ConnectionFailure::Timeout),
    }
}

/// Performs the TLS handshake within the first-byte timeout and serves the protocol that the client chose in it.
pub(super) async fn serve_tls_connection<S: Service>(
    stream: TcpStream,
    tls: &Tls,
    peer: PeerAddress,
    admitted: AdmittedConnection,
    limits: &ConnectionLimits,
    service: Arc<S>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), ConnectionFailure> {
    let mut has_begun = false;
    let accept = async {
        // Health checks of load balancers close the connection without a byte, which is no failure of the handshake.
        has_begun = stream.peek(&mut [0]).await? > 0;
        tls.accept(stream).await
    };
    let handshake = tokio::select! {
        handshake = timeout(limits.first_byte, accept) => handshake,
        _ = stop.wait_for(|stop| *stop) => return Ok(()),
        () = admitted.wait_for_close_request() => return Ok(()),
    };
    match handshake {
        Ok(Ok(stream)) => {
            let protocol =
                DetectedProtocol { is_http2: has_negotiated_http2(&stream), ..DetectedProtocol::default() };
            serve_protocol(stream, protocol, peer, admitted, limits, service, stop).await
        }
        _ if !has_begun => Ok(()),
        Ok(Err(_)) => Err(ConnectionFailure::Tls),
        Err(_) => Err(ConnectionFailure::Timeout),
    }
}

async fn serve_protocol<S: Service, T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: T,
    DetectedProtocol { is_http2, opening }: DetectedProtocol,
    peer: PeerAddress,
    admitted: AdmittedConnection,
    limits: &ConnectionLimits,
    service: Arc<S>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), ConnectionFailure> {
    let activity = Arc::clone(&admitted.activity);
    let streams = is_http2.then(|| Arc::new(OpenStreams::default()));
    let handler = {
        let (activity, streams, body_timeout) = (Arc::clone(&activity), streams.clone(), limits.head);
        service_fn(move |request| {
            respond(Arc::clone(&service), request, peer, &activity, streams.clone(), body_timeout)
        })
    };
    let head_timeout = (!is_http2).then_some(limits.head);
    let stream = TimedStream::new(stream, opening, Arc::clone(&activity), head_timeout, limits.stall);
    let stream = TokioIo::new(stream);
    if let Some(streams) = streams {
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_HEADER_LIST)
            .max_send_buf_size(BUFFER_SIZE)
            .initial_stream_window_size(REQUEST_WINDOW)
            .initial_connection_window_size(4 * REQUEST_WINDOW)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_INTERVAL)
            .serve_connection(stream, handler);
        tokio::select! {
            result = serve_requests(connection, &admitted, limits.idle, &mut stop) => result,
            () = drop_stalled_streams(&streams, limits.stall) => Ok(()),
        }
    } else {
        // `TimedStream` limits the time for a head, and `serve_requests` the idle time, instead of hyper's timer, which limits both.
        let connection = http1::Builder::new()
            .header_read_timeout(None)
            .max_buf_size(BUFFER_SIZE)
            .serve_connection(stream, handler);
        serve_requests(connection, &admitted, limits.idle, &mut stop).await
    }
}

/// Polls a connection until it ends, or until it is idle for `idle_timeout`. After `stop`, or if another connection needs its place,
/// the connection completes the requests in flight and accepts no new ones.
async fn serve_requests<C: GracefulConnection<Error = hyper::Error>>(
    connection: C,
    admitted: &AdmittedConnection,
    idle_timeout: Duration,
    stop: &mut watch::Receiver<bool>,
) -> Result<(), ConnectionFailure> {
    tokio::pin!(connection);
    let activity = &admitted.activity;
    // A connection error is not logged here: each request is logged by the service.
    let ended = |result: Result<(), hyper::Error>| {
        result.or_else(|error| failure_of(&error, activity).map_or(Ok(()), Err))
    };
    let expired = || if activity.is_in_head() { Err(ConnectionFailure::Timeout) } else { Ok(()) };
    let idle_expired = wait_until_idle(activity, idle_timeout);
    tokio::pin!(idle_expired);
    tokio::select! {
        biased;
        result = connection.as_mut() => return ended(result),
        _ = stop.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
        () = admitted.wait_for_close_request() => connection.as_mut().graceful_shutdown(),
        () = idle_expired.as_mut() => return expired(),
    }
    tokio::select! {
        result = connection => ended(result),
        () = idle_expired => expired(),
    }
}

/// The number of activity checks per idle timeout.
const POLLS_PER_TIMEOUT: u32 = 4;

/// Completes after `idle_timeout`, or up to a quarter later, without activity while the connection waits for the client: the
/// client sends no request, or does not read a response. An HTTP/2 stream with an exhausted window stalls without bytes in
/// the socket, so the timer of the stream does not detect it. Polling the counters does not slow down requests.
async fn wait_until_idle(activity: &Activity, idle_timeout: Duration) {
    let (mut previous, mut unchanged_polls) = (None, 0);
    while unchanged_polls < POLLS_PER_TIMEOUT {
        sleep(idle_timeout / POLLS_PER_TIMEOUT).await;
        let current = activity.snapshot();
        unchanged_polls =
            if current.waits_for_client && previous == Some(current) { unchanged_polls + 1 } else { 0 };
        previous = Some(current);
    }
}

/// Drops each response from which the client reads nothing for `timeout`, or up to a quarter longer. Never completes.
async fn drop_stalled_streams(streams: &OpenStreams, timeout: Duration) {
    loop {
        sleep(timeout / POLLS_PER_TIMEOUT).await;
        streams.drop_stalled(timeout);
    }
}

/// Responds to one request. A panic in the service affects that response only, not the connection.
///
/// Most responses are available at once; only the others need a boxed future.
fn respond<S: Service>(
    service: Arc<S>,
    request: Request<Incoming>,
    peer: PeerAddress,
    activity: &Arc<Activity>,
    streams: Option<Arc<OpenStreams>>,
    body_timeout: Duration,
) -> impl Future<Output = Result<Response<ResponseBody<S::Body>>, Infallible>> + use<S> {
    let in_flight = activity.begin_request();
    let observe = move |body| {
        let body = match &streams {
            Some(streams) => StreamBody::of_stream(body, streams),
            None => StreamBody::of_connection(body),
        };
        ResponseBody::new(body, in_flight)
    };
    let internal_error = |_| internal_error().map(Into::into);
    let (mut request, unread_body) = wrap_body(request);
    let at_once = || match validate(&request) {
        Ok(()) => service.respond_at_once(&mut request, peer),
        Err(invalid) => Some(rejection(&*service, &request, invalid)),
    };
    let at_once = catch_unwind(AssertUnwindSafe(at_once)).unwrap_or_else(|panic| Some(internal_error(panic)));
    match (at_once, unread_body) {
        (Some(response), None) => Either::Left(ready(Ok(response.map(observe)))),
        (at_once, unread_body) => Either::Right(Box::pin(async move {
            let mut response = if let Some(response) = at_once {
                drop(request);
                response
            } else {
                let response = AssertUnwindSafe(service.respond(request, peer)).catch_unwind();
                response.await.unwrap_or_else(internal_error)
            };
            if let Some(unread_body) = unread_body {
                response = unread_body.read_or_close(response, body_timeout).await;
            }
            Ok(response.map(observe))
        })),
    }
}

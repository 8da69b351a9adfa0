//! The life of one connection: first byte → version → requests → idle or drain → end.

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

use super::activity::{Activity, AnswerBody};
use super::protocol_detection::{Opening, read_opening};
use super::request_body::split;
use super::request_validation::validate;
use super::timed_stream::TimedStream;
use super::tls::{Tls, chose_http2};
use super::{ConnectionLimits, PeerAddress, Service, broken, refused};

/// Bytes that hyper holds of an answer that is not yet taken, and of a head that is not yet whole.
const BUFFER: usize = 64 * 1024;

/// Requests that one HTTP/2 connection may have under way: what a viewer opens at once.
const STREAMS: u32 = 100;

/// Request bodies are searches of a few kilobytes; a window beyond that only invites memory to be filled.
const REQUEST_WINDOW: u32 = 64 * 1024;

/// As `MAX_HEAD_SIZE` at the front door, for HTTP/2 to say so while the head comes in.
const HEADER_LIST: u32 = 16 * 1024;

/// A peer that is gone without a word is noticed by an unanswered ping.
const PING_EVERY: Duration = Duration::from_secs(20);

/// Serves `stream` until its peer, a timer, or the end of the drain closes it.
pub(super) async fn serve_connection<S: Service>(
    mut stream: TcpStream,
    peer: PeerAddress,
    limits: &ConnectionLimits,
    service: Arc<S>,
    mut stop: watch::Receiver<bool>,
) {
    let opening = tokio::select! {
        opening = timeout(limits.first_byte, read_opening(&mut stream)) => opening,
        // Nothing has been asked for yet, so nothing is lost.
        _ = stop.wait_for(|stop| *stop) => return,
    };
    let Ok(Ok(Some(opening))) = opening else { return };
    serve_opened(stream, opening, peer, limits, service, stop).await;
}

/// Shakes hands over `stream`, within the time that a first byte has, and serves what the client chose in it.
pub(super) async fn serve_tls_connection<S: Service>(
    stream: TcpStream,
    tls: &Tls,
    peer: PeerAddress,
    limits: &ConnectionLimits,
    service: Arc<S>,
    mut stop: watch::Receiver<bool>,
) {
    let shaken = tokio::select! {
        shaken = timeout(limits.first_byte, tls.accept(stream)) => shaken,
        _ = stop.wait_for(|stop| *stop) => return,
    };
    let Ok(Ok(stream)) = shaken else { return };
    let opening = Opening { is_http2: chose_http2(&stream), read: Vec::new() };
    serve_opened(stream, opening, peer, limits, service, stop).await;
}

async fn serve_opened<S: Service, T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: T,
    Opening { is_http2, read }: Opening,
    peer: PeerAddress,
    limits: &ConnectionLimits,
    service: Arc<S>,
    mut stop: watch::Receiver<bool>,
) {
    let activity = Arc::new(Activity::default());
    let answering = {
        let (activity, patience) = (Arc::clone(&activity), limits.head);
        service_fn(move |request| answer(Arc::clone(&service), request, peer, &activity, patience))
    };
    let head = (!is_http2).then_some(limits.head);
    let stream = TimedStream::new(stream, read, Arc::clone(&activity), head, limits.stall);
    let stream = TokioIo::new(stream);
    if is_http2 {
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(HEADER_LIST)
            .max_send_buf_size(BUFFER)
            .initial_stream_window_size(REQUEST_WINDOW)
            .initial_connection_window_size(4 * REQUEST_WINDOW)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_EVERY)
            .serve_connection(stream, answering);
        drive(connection, &activity, limits.idle, &mut stop).await;
    } else {
        // The head is timed by the stream and idleness below: hyper's own timer would be set anew for every request.
        let connection = http1::Builder::new()
            .header_read_timeout(None)
            .max_buf_size(BUFFER)
            .serve_connection(stream, answering);
        drive(connection, &activity, limits.idle, &mut stop).await;
    }
}

/// Polls a connection to its end, or until it has been silent for as long as `idle`. At the order to stop it finishes what
/// is under way and takes nothing new.
async fn drive<C: GracefulConnection>(
    connection: C,
    activity: &Activity,
    idle: Duration,
    stop: &mut watch::Receiver<bool>,
) {
    tokio::pin!(connection);
    let silence = silence(activity, idle);
    tokio::pin!(silence);
    tokio::select! {
        biased;
        // Why a connection broke is its peer's business; what was asked over it is logged with the request.
        _ = connection.as_mut() => return,
        _ = stop.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
        () = silence.as_mut() => return,
    }
    tokio::select! {
        _ = connection => {}
        () = silence => {}
    }
}

/// How often within its patience a silence is looked at.
const POLLS_PER_TIMEOUT: u32 = 4;

/// Ends when nothing went on for the length of `patience`, or a quarter longer, and it was not the service that was waited
/// for: the peer asked for nothing, or took nothing of what it had asked for. A stream that is closed by its window stalls
/// without a byte waiting in the socket, so no timer of the stream sees it. Looking now and then costs a request nothing.
async fn silence(activity: &Activity, patience: Duration) {
    let (mut earlier, mut unchanged) = (None, 0);
    while unchanged < POLLS_PER_TIMEOUT {
        sleep(patience / POLLS_PER_TIMEOUT).await;
        let now = activity.standing();
        unchanged = if now.is_peers_turn && earlier == Some(now) { unchanged + 1 } else { 0 };
        earlier = Some(now);
    }
}

/// Answers one request. Whatever breaks down in the service breaks that answer, not the connection.
///
/// Most answers stand ready: only the others are given a place for what they have to remember while they wait.
fn answer<S: Service>(
    service: Arc<S>,
    request: Request<Incoming>,
    peer: PeerAddress,
    activity: &Arc<Activity>,
    patience: Duration,
) -> impl Future<Output = Result<Response<AnswerBody<S::Body>>, Infallible>> + use<S> {
    let in_flight = activity.request_begun();
    let broken = |_| broken().map(Into::into);
    let (mut request, rest) = split(request);
    let at_once = || match validate(&request) {
        Ok(()) => service.answer_at_once(&mut request, peer),
        Err(refusal) => Some(refused(&*service, &request, refusal)),
    };
    let at_once = catch_unwind(AssertUnwindSafe(at_once)).unwrap_or_else(|panic| Some(broken(panic)));
    match (at_once, rest) {
        (Some(response), None) => {
            Either::Left(ready(Ok(response.map(|body| AnswerBody::new(body, in_flight)))))
        }
        (at_once, rest) => Either::Right(Box::pin(async move {
            let mut response = if let Some(response) = at_once {
                drop(request);
                response
            } else {
                let answer = AssertUnwindSafe(service.answer(request, peer)).catch_unwind();
                answer.await.unwrap_or_else(broken)
            };
            if let Some(rest) = rest {
                response = rest.settle(response, patience).await;
            }
            Ok(response.map(|body| AnswerBody::new(body, in_flight)))
        })),
    }
}

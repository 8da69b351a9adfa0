//! Determines from an error of hyper whether a connection failed before it had received a request, and why. This module does not know
//! about sockets.

use std::error::Error;
use std::io;

use super::ConnectionFailure;
use super::activity::Activity;
use super::timed_stream::ClientTimeout;

/// Returns the failure that `error` denotes; `None` if the connection was idle or served requests.
pub(super) fn failure_of(error: &hyper::Error, activity: &Activity) -> Option<ConnectionFailure> {
    if error.is_parse_too_large() {
        return Some(ConnectionFailure::HeadTooLarge);
    }
    if error.is_parse() || has_http2_violation(error) {
        return Some(ConnectionFailure::Malformed);
    }
    let io_error = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    match io_error.and_then(|error| error.get_ref()?.downcast_ref()) {
        Some(ClientTimeout::Head) => return Some(ConnectionFailure::Timeout),
        Some(ClientTimeout::Stall) => return None,
        None => {}
    }
    // The HTTP/2 codec reports the end of a connection within a frame with this kind, which no error of the system has.
    let is_in_frame =
        activity.is_idle() && io_error.is_some_and(|error| error.kind() == io::ErrorKind::Other);
    (activity.is_in_head() || is_in_frame).then_some(ConnectionFailure::Disconnected)
}

/// Whether the client violated HTTP/2 so that the whole connection ended. An invalid head ends only its stream, without an error.
fn has_http2_violation(error: &hyper::Error) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    source.is_some_and(|error| error.is_go_away() && error.is_library())
}

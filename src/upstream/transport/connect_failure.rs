//! Finds out why no connection was made, from the chain of errors of either client: what the resolver, the operating system or
//! rustls (RFC 8446, RFC 9525 for names) reported, whatever wraps it.

use std::error::Error;
use std::io;

use tokio::time::error::Elapsed;
use tokio_rustls::rustls::{self, CertificateError};

use super::resolver::{ForbiddenAddress, LookupFailed};
use super::{CONNECT_TIMEOUT, TransportError};
use crate::upstream::ConnectFailure;

/// The innermost known cause; `timed_out` is set if the client's own timer expired.
pub(super) fn unconnected(error: &(dyn Error + 'static), timed_out: bool) -> TransportError {
    let mut failure = timed_out.then_some(ConnectFailure::TimedOut(CONNECT_TIMEOUT));
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<ForbiddenAddress>() {
            return TransportError::ForbiddenAddress;
        }
        failure = reported_by(error).or(failure);
        cause = within(error);
    }
    TransportError::Unreachable(failure.unwrap_or(ConnectFailure::Other))
}

/// An `io::Error` hides the error that it was made from: its source is the source of that error.
fn within<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    inner.map(|inner| inner as &(dyn Error + 'static)).or_else(|| error.source())
}

fn reported_by(error: &(dyn Error + 'static)) -> Option<ConnectFailure> {
    if error.is::<LookupFailed>() {
        return Some(ConnectFailure::NameLookup);
    }
    if error.is::<Elapsed>() {
        return Some(ConnectFailure::TimedOut(CONNECT_TIMEOUT));
    }
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return Some(reported_by_tls(error));
    }
    match error.downcast_ref::<io::Error>()?.kind() {
        io::ErrorKind::ConnectionRefused => Some(ConnectFailure::Refused),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Some(ConnectFailure::NoRoute),
        io::ErrorKind::TimedOut => Some(ConnectFailure::TimedOut(CONNECT_TIMEOUT)),
        // Only TLS data is exchanged before the connection is established.
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => Some(ConnectFailure::Handshake),
        _ => None,
    }
}

fn reported_by_tls(error: &rustls::Error) -> ConnectFailure {
    match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                ConnectFailure::WrongName
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => ConnectFailure::CertificateExpired,
            _ => ConnectFailure::UntrustedCertificate,
        },
        rustls::Error::InvalidMessage(_) => ConnectFailure::NotTls,
        _ => ConnectFailure::Handshake,
    }
}

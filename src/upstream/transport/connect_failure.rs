//! Determines why no connection was made. It searches the chain of sources of an error of an HTTP client (`reqwest` or `hyper`) for
//! the error that the resolver, the operating system or rustls (RFC 8446, RFC 9525 for names) reported.

use std::error::Error;
use std::io;

use tokio::time::error::Elapsed;
use tokio_rustls::rustls::{self, CertificateError};

use super::resolver::{ForbiddenAddress, NameLookupFailed};
use super::{CONNECT_TIMEOUT, TransportError};
use crate::upstream::ConnectFailure;

/// Converts `error` to its innermost known cause, or to `fallback` if no cause is known.
pub(super) fn connect_error(error: &(dyn Error + 'static), fallback: ConnectFailure) -> TransportError {
    let mut failure = fallback;
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<ForbiddenAddress>() {
            return TransportError::ForbiddenAddress;
        }
        failure = classify(error).unwrap_or(failure);
        cause = source(error);
    }
    TransportError::Unreachable(failure)
}

/// Returns the error that `error` wraps. `io::Error::source` skips the wrapped error and returns the source of that error.
fn source<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    inner.map(|inner| inner as &(dyn Error + 'static)).or_else(|| error.source())
}

fn classify(error: &(dyn Error + 'static)) -> Option<ConnectFailure> {
    if error.is::<NameLookupFailed>() {
        return Some(ConnectFailure::NameLookup);
    }
    if error.is::<Elapsed>() {
        return Some(ConnectFailure::TimedOut(CONNECT_TIMEOUT));
    }
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return Some(classify_tls(error));
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

fn classify_tls(error: &rustls::Error) -> ConnectFailure {
    match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                ConnectFailure::WrongName
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => ConnectFailure::CertificateExpired,
            // rustls does not export the type of this error.
            CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
                ConnectFailure::AuthorityCertificate
            }
            _ => ConnectFailure::UntrustedCertificate,
        },
        rustls::Error::InvalidMessage(_) => ConnectFailure::NotTls,
        _ => ConnectFailure::Handshake,
    }
}

//! Authentication: the [`Authenticator`] authenticates the caller once per request, and returns the [`Access`] that is passed to
//! every later call.
//!
//! The module does not depend on routes, archives or statuses; [`crate::error`] creates the response to a rejected caller.

mod access;
mod open;

use std::fmt;

use futures_util::future::{BoxFuture, Shared};
use http::HeaderMap;

pub use access::{Access, Subject};
pub use open::Open;

/// Authenticates callers, and decides what they may see.
pub trait Authenticator: fmt::Debug + Send + Sync + 'static {
    /// Authenticates the caller of the request with these headers. It is called once per request.
    fn authenticate(&self, headers: &HeaderMap) -> Authentication;
}

/// The decision for one request. Clones share it, so that the caller is authenticated only once.
#[derive(Debug, Clone)]
pub enum Authentication {
    /// The decision was made without waiting.
    Decided(Result<Access, AuthError>),
    /// The decision needs a response of another service.
    Pending(Shared<BoxFuture<'static, Result<Access, AuthError>>>),
}

impl Authentication {
    /// Waits for the decision.
    pub async fn decision(self) -> Result<Access, AuthError> {
        match self {
            Self::Decided(decision) => decision,
            Self::Pending(decision) => decision.await,
        }
    }
}

/// The reason why a caller is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The request has no valid credentials.
    #[error("the request has no valid credentials")]
    Unauthenticated {
        /// The value of `WWW-Authenticate` (RFC 9110 11.6.1).
        challenge: &'static str,
    },
    /// The caller is authenticated, but may not see the requested resources.
    #[error("the caller may not make this request")]
    Forbidden,
    /// The service that checks credentials cannot be reached.
    #[error("credentials cannot be checked at the moment")]
    Unavailable,
}

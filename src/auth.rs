//! Authentication: one [`Authenticator`] decides once per request who is asking, and returns the [`Access`] that is passed to
//! every later call.
//!
//! The module knows no route, archive or status; [`crate::error`] chooses the response to a caller who is rejected.

mod access;
mod open;

use std::fmt;

use futures_util::future::{BoxFuture, Shared};
use http::HeaderMap;

pub use access::{Access, Subject};
pub use open::Open;

/// Decides who is asking and what they may see.
pub trait Authenticator: fmt::Debug + Send + Sync + 'static {
    /// The decision for the request with these headers. Called once per request.
    fn authenticate(&self, headers: &HeaderMap) -> Authentication;
}

/// The decision for one request. Clones share it, so that it is made only once.
#[derive(Debug, Clone)]
pub enum Authentication {
    /// It was made without waiting.
    Decided(Result<Access, AuthError>),
    /// Another service must be asked first.
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

/// Why a request is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The request has no valid credentials.
    #[error("the request has no valid credentials")]
    Unauthenticated {
        /// How to authenticate: the value of `WWW-Authenticate` (RFC 9110 11.6.1).
        challenge: &'static str,
    },
    /// The caller is known and may see nothing of what was requested.
    #[error("the caller may not make this request")]
    Forbidden,
    /// The service that checks credentials cannot be reached.
    #[error("credentials cannot be checked at the moment")]
    Unavailable,
}

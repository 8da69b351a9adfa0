//! Who is asking: one [`Authenticator`] decides it once for each request, and gives the [`Access`] that every call after it
//! is handed.
//!
//! Nothing here knows a route, an archive or a status; [`crate::error`] decides what a caller is answered.

mod access;
mod open;

use std::fmt;

use futures_util::future::{BoxFuture, Shared};
use http::HeaderMap;

pub use access::{Access, Subject};
pub use open::Open;

/// Decides who is asking and what they may see.
pub trait Authenticator: fmt::Debug + Send + Sync + 'static {
    /// The decision for the request with these headers. It is called once for each request.
    fn authenticate(&self, headers: &HeaderMap) -> Authentication;
}

/// The decision for one request. Clones share it: it is made once, whoever waits for it.
#[derive(Debug, Clone)]
pub enum Authentication {
    /// It took no waiting.
    Decided(Result<Access, AuthError>),
    /// Somebody else has to be asked first.
    Pending(Shared<BoxFuture<'static, Result<Access, AuthError>>>),
}

impl Authentication {
    /// The decision, however long it takes.
    pub async fn decision(self) -> Result<Access, AuthError> {
        match self {
            Self::Decided(decision) => decision,
            Self::Pending(decision) => decision.await,
        }
    }
}

/// Why a request is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The request has no credentials, or none that are valid.
    #[error("the request has no valid credentials")]
    Unauthenticated {
        /// How to authenticate, as `WWW-Authenticate` has it (RFC 9110 11.6.1).
        challenge: &'static str,
    },
    /// The caller is known and may see nothing of what was requested.
    #[error("the caller may not make this request")]
    Forbidden,
    /// Whoever checks credentials cannot be reached.
    #[error("credentials cannot be checked at present")]
    Unavailable,
}

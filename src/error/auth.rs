//! Converts rejections of callers to statuses (RFC 9110 15.5.2 and 15.5.4; RFC 6750 3.1 for the challenge).

use http::StatusCode;

use super::{DEFAULT_RETRY_AFTER, Failure, to_sentence};
use crate::auth::AuthError;

impl From<AuthError> for Failure {
    fn from(error: AuthError) -> Self {
        let diagnostics = to_sentence(&format!("{error}."));
        match error {
            AuthError::Unauthenticated { challenge } => {
                let failure = Self::new(StatusCode::UNAUTHORIZED, "login", diagnostics);
                Self { challenge: Some(challenge), ..failure }
            }
            AuthError::Forbidden => Self::new(StatusCode::FORBIDDEN, "forbidden", diagnostics),
            AuthError::Unavailable => Self::new(StatusCode::SERVICE_UNAVAILABLE, "transient", diagnostics)
                .with_retry_after(Some(DEFAULT_RETRY_AFTER)),
        }
    }
}

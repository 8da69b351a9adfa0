//! The one type of body that the gateway answers with, whether the bytes stand ready or are still streaming in.

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};

/// Why a body ended before its end.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Any body. It need not be `Sync`: streams from an archive are not.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A body whose bytes stand ready.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// No body.
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body::Body as _;

    #[test]
    fn ready_bodies_know_their_length() {
        assert_eq!(full("abc").size_hint().exact(), Some(3));
        assert!(empty().is_end_stream());
    }
}

//! The request id, which connects the log lines of a request with its response.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header of requests and responses.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Maximum length: a UUID has 36 characters; some proxies write longer ids.
const MAX_LEN: usize = 64;

/// Distinguishes this process from others.
static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().build_hasher().finish());

static COUNT: AtomicU64 = AtomicU64::new(0);

/// 1 to 64 letters, digits, `-`, `_` and `.`: valid in a header, and unable to forge a log line.
///
/// Every request has an id, but few are ever written: a generated id stays a number until its text is needed.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestId(IdOrigin);

#[derive(Clone, PartialEq, Eq)]
enum IdOrigin {
    /// Sequence number of the request within this process.
    Generated(u64),
    /// The caller's id.
    Own(HeaderValue),
}

impl RequestId {
    /// The caller's id if it is valid, else a generated one.
    pub fn of(headers: &HeaderMap) -> Self {
        let own = headers.get(&REQUEST_ID).filter(|value| is_legal(value.as_bytes()));
        let generated = || IdOrigin::Generated(COUNT.fetch_add(1, Ordering::Relaxed));
        Self(own.cloned().map_or_else(generated, IdOrigin::Own))
    }

    /// The id as a header value.
    pub fn header_value(&self) -> HeaderValue {
        match &self.0 {
            // Hexadecimal digits and a hyphen are valid in a header.
            IdOrigin::Generated(number) => {
                HeaderValue::from_bytes(&generated(*number)).unwrap_or(HeaderValue::from_static("unknown"))
            }
            IdOrigin::Own(value) => value.clone(),
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.header_value().to_str().unwrap_or_default())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// The process and the request's number within it, in hexadecimal digits.
fn generated(number: u64) -> [u8; 25] {
    let mut text = [b'-'; 25];
    write_hex(&mut text[..12], *PROCESS);
    write_hex(&mut text[13..], number);
    text
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Writes the last digits of `number`, as many as fit.
fn write_hex(text: &mut [u8], number: u64) {
    for (pair, byte) in text.rchunks_mut(2).zip(number.to_le_bytes()) {
        pair.copy_from_slice(&[byte >> 4, byte & 0xf].map(|digit| DIGITS[usize::from(digit)]));
    }
}

fn is_legal(bytes: &[u8]) -> bool {
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=MAX_LEN).contains(&bytes.len()) && bytes.iter().all(legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &'static [u8]) -> RequestId {
        let value = HeaderValue::from_bytes(value).unwrap();
        RequestId::of(&[(REQUEST_ID, value)].into_iter().collect())
    }

    #[test]
    fn a_valid_id_of_the_caller_is_used() {
        assert_eq!(of(b"53fefa32-fcbb_4ff8.1").to_string(), "53fefa32-fcbb_4ff8.1");
    }

    #[test]
    fn an_invalid_id_of_the_caller_is_replaced() {
        for bad in [&b""[..], b"a b", b"a\"b", b"\xff", b"a,b", &[b'a'; 65]] {
            assert_ne!(of(bad).to_string().as_bytes(), bad);
        }
    }

    #[test]
    fn generated_ids_differ() {
        let names: std::collections::BTreeSet<_> =
            (0..100).map(|_| RequestId::of(&HeaderMap::new()).to_string()).collect();
        assert_eq!(names.len(), 100);
    }
}

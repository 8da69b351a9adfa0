//! The request id, which connects the log lines of a request with its response.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header field of the request id, in requests and responses.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Maximum length in characters. A UUID has 36 characters; some proxies send longer ids.
const MAX_LEN: usize = 64;

/// A random number that distinguishes this process from others.
static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().build_hasher().finish());

/// The number of generated ids.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// A request id: 1 to 64 letters, digits, `-`, `_` and `.`, which are valid in a header and cannot forge a log line.
///
/// A generated id is stored as a number until its text is needed, because most ids are never written.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestId(IdOrigin);

#[derive(Clone, PartialEq, Eq)]
enum IdOrigin {
    /// The sequence number of the request in this process.
    Generated(u64),
    /// The id that the caller sent.
    Caller(HeaderValue),
}

impl RequestId {
    /// Returns the id of the caller if it is valid, else generates an id.
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let caller_id = headers.get(&REQUEST_ID).filter(|value| is_legal(value.as_bytes()));
        let generate = || IdOrigin::Generated(COUNT.fetch_add(1, Ordering::Relaxed));
        Self(caller_id.cloned().map_or_else(generate, IdOrigin::Caller))
    }

    /// Returns the id as a field value.
    pub fn header_value(&self) -> HeaderValue {
        match &self.0 {
            // Hexadecimal digits and a hyphen are valid in a header.
            IdOrigin::Generated(number) => {
                HeaderValue::from_bytes(&to_text(*number)).unwrap_or(HeaderValue::from_static("unknown"))
            }
            IdOrigin::Caller(value) => value.clone(),
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

/// Writes the number of the process and the sequence number of the request in hexadecimal digits.
fn to_text(number: u64) -> [u8; 25] {
    let mut text = [b'-'; 25];
    write_hex(&mut text[..12], *PROCESS);
    write_hex(&mut text[13..], number);
    text
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Fills `text` with the last digits of `number`.
fn write_hex(text: &mut [u8], number: u64) {
    for (pair, byte) in text.rchunks_mut(2).zip(number.to_le_bytes()) {
        pair.copy_from_slice(&[byte >> 4, byte & 0xf].map(|digit| DIGITS[usize::from(digit)]));
    }
}

fn is_legal(bytes: &[u8]) -> bool {
    let is_legal_byte = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=MAX_LEN).contains(&bytes.len()) && bytes.iter().all(is_legal_byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request_id(value: &'static [u8]) -> RequestId {
        let value = HeaderValue::from_bytes(value).unwrap();
        RequestId::from_headers(&[(REQUEST_ID, value)].into_iter().collect())
    }

    #[test]
    fn a_valid_id_of_the_caller_is_used() {
        assert_eq!(request_id(b"53fefa32-fcbb_4ff8.1").to_string(), "53fefa32-fcbb_4ff8.1");
    }

    #[test]
    fn an_invalid_id_of_the_caller_is_replaced() {
        for invalid in [&b""[..], b"a b", b"a\"b", b"\xff", b"a,b", &[b'a'; 65]] {
            assert_ne!(request_id(invalid).to_string().as_bytes(), invalid);
        }
    }

    #[test]
    fn generated_ids_differ() {
        let ids: std::collections::BTreeSet<_> =
            (0..100).map(|_| RequestId::from_headers(&HeaderMap::new()).to_string()).collect();
        assert_eq!(ids.len(), 100);
    }
}

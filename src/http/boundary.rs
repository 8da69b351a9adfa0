//! Boundaries of multipart bodies (RFC 2046 5.1.1).

use std::hash::{BuildHasher as _, RandomState};

/// A boundary that no part can hold but by malice: 128 bits from the randomly keyed hasher of the standard library, anew for
/// every answer.
pub fn random() -> String {
    let (one, other) = (RandomState::new(), RandomState::new());
    format!("{:016x}{:016x}", one.hash_one("multipart"), other.hash_one("related"))
}

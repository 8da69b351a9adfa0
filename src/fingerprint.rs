//! Fingerprints of rows, and the short hashes that name content: 96 or 128 bits of SHA-256. Collisions are not a threat,
//! because nobody would gain anything by making two contents with the same hash.

use sha2::{Digest, Sha256};

use crate::upstream::ArchiveId;
use dicom_model::Attributes;

/// The first bytes of the SHA-256 of the concatenated `parts`.
pub fn short_hash<'a, const LENGTH: usize>(parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; LENGTH] {
    shortened(parts.into_iter().fold(Sha256::new(), Digest::chain_update))
}

fn shortened<const LENGTH: usize>(hash: Sha256) -> [u8; LENGTH] {
    const { assert!(LENGTH <= 32, "SHA-256 has 32 bytes") };
    let mut short = [0; LENGTH];
    short.iter_mut().zip(hash.finalize()).for_each(|(short, byte)| *short = byte);
    short
}

/// Shows cheaply whether a study is unchanged: a hash of the rows that the archives returned for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    /// The fingerprint of one study's rows, in the order of the archives that hold it.
    pub fn of<'a>(rows: impl IntoIterator<Item = (&'a ArchiveId, &'a Attributes)>) -> Self {
        let mut hash = Sha256::new();
        for (archive, row) in rows {
            hash.update(archive.as_str().as_bytes());
            row.digest_into(&mut |bytes| hash.update(bytes));
        }
        Self(shortened(hash))
    }

    /// The fingerprint of the same rows with the mapping rules `rules`: the resource changes with either.
    #[must_use]
    pub fn read_by(&self, rules: &[u8]) -> Self {
        Self(short_hash([&self.0[..], rules]))
    }

    /// The bytes as stored.
    pub fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// The fingerprint from stored bytes.
    pub fn of_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dicom_model::{Element, tags};

    fn row(patient_id: &str) -> Attributes {
        [(tags::PATIENT_ID, Element::text(patient_id))].into_iter().collect()
    }

    #[test]
    fn a_fingerprint_changes_with_any_value_and_with_the_archive() {
        let (main, other) = (ArchiveId::parse("main").unwrap(), ArchiveId::parse("other").unwrap());
        let one = Fingerprint::of([(&main, &row("P1"))]);
        assert_eq!(one, Fingerprint::of([(&main, &row("P1"))]));
        assert_ne!(one, Fingerprint::of([(&main, &row("P2"))]));
        assert_ne!(one, Fingerprint::of([(&other, &row("P1"))]));
        assert_ne!(one, one.read_by(b"rules"));
        assert_ne!(one.read_by(b"rules"), one.read_by(b"other rules"));
    }

    #[test]
    fn a_short_hash_is_a_prefix_of_the_long_one() {
        let long: [u8; 32] = short_hash([&b"a"[..], b"b"]);
        assert_eq!(long[..], Sha256::digest(b"ab")[..]);
        assert_eq!(short_hash::<12>([&b"ab"[..]]), long[..12]);
    }
}

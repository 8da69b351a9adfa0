//! Fingerprints of rows, and short hashes of content: 96 or 128 bits of SHA-256. An attacker gains nothing from two contents with
//! the same hash, so collisions are not a threat.

use sha2::{Digest, Sha256};

use crate::upstream::ArchiveId;
use dicom_model::Attributes;

/// Returns the first bytes of the SHA-256 of the concatenated `parts`.
pub fn short_hash<'a, const LENGTH: usize>(parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; LENGTH] {
    finalize_short(parts.into_iter().fold(Sha256::new(), Digest::chain_update))
}

fn finalize_short<const LENGTH: usize>(hash: Sha256) -> [u8; LENGTH] {
    const { assert!(LENGTH <= 32, "SHA-256 has 32 bytes") };
    let mut short = [0; LENGTH];
    short.iter_mut().zip(hash.finalize()).for_each(|(short, byte)| *short = byte);
    short
}

/// The fingerprint of a study: a hash of the rows that the archives returned for it, which shows at low cost whether the study
/// is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    /// Computes the fingerprint of the rows of one study, in the order of the archives.
    pub fn from_rows<'a>(rows: impl IntoIterator<Item = (&'a ArchiveId, &'a Attributes)>) -> Self {
        let mut hash = Sha256::new();
        for (archive, row) in rows {
            hash.update(archive.as_str().as_bytes());
            row.digest_into(&mut |bytes| hash.update(bytes));
        }
        Self(finalize_short(hash))
    }

    /// Computes the fingerprint of the same rows with the mapping rules `rules`, because the resource depends on both.
    #[must_use]
    pub fn with_rules(&self, rules: &[u8]) -> Self {
        Self(short_hash([&self.0[..], rules]))
    }

    /// Returns the bytes for the store.
    pub fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// Creates a fingerprint from stored bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
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
        let fingerprint = Fingerprint::from_rows([(&main, &row("P1"))]);
        assert_eq!(fingerprint, Fingerprint::from_rows([(&main, &row("P1"))]));
        assert_ne!(fingerprint, Fingerprint::from_rows([(&main, &row("P2"))]));
        assert_ne!(fingerprint, Fingerprint::from_rows([(&other, &row("P1"))]));
        assert_ne!(fingerprint, fingerprint.with_rules(b"rules"));
        assert_ne!(fingerprint.with_rules(b"rules"), fingerprint.with_rules(b"other rules"));
    }

    #[test]
    fn a_short_hash_is_a_prefix_of_the_whole_hash() {
        let long: [u8; 32] = short_hash([&b"a"[..], b"b"]);
        assert_eq!(long[..], Sha256::digest(b"ab")[..]);
        assert_eq!(short_hash::<12>([&b"ab"[..]]), long[..12]);
    }
}

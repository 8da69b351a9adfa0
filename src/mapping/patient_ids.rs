//! Patient ids (R4 datatypes#id), which contain the identifier of the patient encrypted. A gateway that has never seen a patient decrypts
//! the id, and searches the archives for the PatientID. This module does not know how.
//!
//! AES-SIV (RFC 5297) is deterministic and authenticated: a patient has one id, and an id that was not made with one of the keys is
//! recognized. Every id has 64 characters, whatever the length of the PatientID:
//!
//! ```text
//! id:        number of the key (1 byte), synthetic initialization vector (16), ciphertext (31)
//! plaintext: length of the PatientID (1), hash of the scope (8), PatientID and zeros (22)
//!        or: 255 (1), hash of the scope and the identifier (30)
//! ```
//!
//! The second plaintext is that of a PatientID of more than 22 bytes, and of a patient without a PatientID.

use std::fmt;

use aes_siv::siv::Aes256Siv;
use aes_siv::{Key, KeyInit};
use base64::Engine;
use base64::alphabet::{Alphabet, URL_SAFE};
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};
use sha2::{Digest, Sha256, Sha512};

const SCOPE_LEN: usize = 8;
const MAX_PATIENT_ID_LEN: usize = 22;
const PLAINTEXT_LEN: usize = 1 + SCOPE_LEN + MAX_PATIENT_ID_LEN;

/// The first byte of a plaintext that is a hash.
const HASH: u8 = 255;

/// The characters of an id (R4 datatypes#id), which are 64.
const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.";

/// The purpose of the keys that are derived from secrets, which are the secrets of page links, too.
const PURPOSE: &[u8] = b"dicomweb-gateway Patient ids";

/// The keys of Patient ids: the first one encrypts, and all of them decrypt.
pub struct PatientIds(Vec<PatientIdKey>);

struct PatientIdKey {
    number: u8,
    key: Key<Aes256Siv>,
}

/// The content of a Patient id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedPatientId {
    /// The id that the patient has now, with the first key.
    pub current: String,
    /// The PatientID; `None` if the id contains a hash.
    pub patient_id: Option<String>,
}

/// Error: there is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the keys of Patient ids are derived from secrets, and there is none")]
pub struct NoSecret;

impl PatientIds {
    /// Derives a key from each of `secrets`. Gateways with the same first secret assign the same ids.
    pub fn derive<'a>(secrets: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, NoSecret> {
        let keys: Vec<_> = secrets.into_iter().map(PatientIdKey::derive).collect();
        if keys.is_empty() { Err(NoSecret) } else { Ok(Self(keys)) }
    }

    /// Returns the id of the patient whose PatientID, or other identifier if there is none, is `identifier` in `scope`.
    pub(super) fn id(&self, scope: &str, identifier: &str, is_patient_id: bool) -> String {
        let length = u8::try_from(identifier.len()).unwrap_or(HASH);
        let plaintext = if is_patient_id && identifier.len() <= MAX_PATIENT_ID_LEN {
            [&[length][..], &hash(&[scope], SCOPE_LEN), identifier.as_bytes()].concat()
        } else {
            [&[HASH][..], &hash(&[scope, identifier], PLAINTEXT_LEN - 1)].concat()
        };
        self.encrypt(plaintext)
    }

    /// Decrypts an id; `None` if it was not made with one of the keys.
    pub fn open(&self, id: &str) -> Option<OpenedPatientId> {
        let bytes = engine().decode(id).ok()?;
        let (number, encrypted) = bytes.split_first()?;
        let mut keys = self.0.iter().filter(|key| key.number == *number);
        let plaintext = keys.find_map(|key| key.cipher().decrypt([PURPOSE], encrypted).ok())?;
        let patient_id = match plaintext.first()? {
            &HASH => None,
            length => {
                let start = 1 + SCOPE_LEN;
                let text = plaintext.get(start..start + usize::from(*length))?;
                Some(str::from_utf8(text).ok()?.to_owned())
            }
        };
        Some(OpenedPatientId { current: self.encrypt(plaintext), patient_id })
    }

    fn encrypt(&self, mut plaintext: Vec<u8>) -> String {
        plaintext.resize(PLAINTEXT_LEN, 0);
        let Some(key) = self.0.first() else { return String::new() };
        #[expect(
            clippy::expect_used,
            reason = "AES-SIV fails only with more than 126 texts of additional data"
        )]
        let encrypted = key.cipher().encrypt([PURPOSE], &plaintext).expect("there is one additional text");
        engine().encode([&[key.number][..], &encrypted].concat())
    }
}

/// Prints a text that another first key changes, and no key.
impl fmt::Debug for PatientIds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PatientIds({})", self.encrypt(Vec::new()))
    }
}

impl PatientIdKey {
    fn derive(secret: &[u8]) -> Self {
        let digest =
            |parts: [&[u8]; 2]| Sha512::new().chain_update(parts[0]).chain_update(parts[1]).finalize();
        let key = digest([PURPOSE, secret]);
        // The number does not reveal the key.
        let number = digest([b"number", &key]).first().copied().unwrap_or_default();
        Self { number, key: Key::<Aes256Siv>::try_from(&key[..]).unwrap_or_default() }
    }

    fn cipher(&self) -> Aes256Siv {
        Aes256Siv::new(&self.key)
    }
}

fn engine() -> GeneralPurpose {
    GeneralPurpose::new(&Alphabet::new(ALPHABET).unwrap_or(URL_SAFE), NO_PAD)
}

/// Returns the first `length` bytes of the hash of `texts`.
fn hash(texts: &[&str], length: usize) -> Vec<u8> {
    let mut digest = Sha256::new();
    for text in texts {
        digest.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        digest.update(text);
    }
    digest.finalize().into_iter().take(length).collect()
}

#[cfg(test)]
mod tests;

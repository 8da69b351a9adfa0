//! Seals values for links: the cursors of search pages, and the queries of an archive's URLs.
//!
//! A cursor contains the whole state that is needed to continue a search, so any gateway with the same archives and the same key
//! can continue a search of another gateway. Values are sealed with authenticated encryption: clients can neither read nor
//! change them, nor use them in another search or URL.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The version of the sealed format; a value of another version is rejected.
const VERSION: u8 = 2;

/// Maximum length of a sealed value in characters. A cursor with a full list of previous pages has about 1,000 characters.
const MAX_LEN: usize = 8 * 1024;

/// The keys of links: the first one seals, and all of them open.
pub struct SealingKeys(Vec<LessSafeKey>);

impl std::fmt::Debug for SealingKeys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SealingKeys")
    }
}

/// The error for keys that cannot be created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no key for page links can be created: there is no secret from which it could be derived")]
pub struct KeyDerivationError;

#[derive(Serialize, Deserialize)]
struct Sealed<V>(u8, V);

impl SealingKeys {
    /// Derives a key from each of `secrets`. Gateways with the same first secret seal equally.
    pub fn derive<'a>(secrets: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, KeyDerivationError> {
        let derive = |secret| {
            let mut digest = Sha256::new();
            digest.update(b"dicomweb-gateway cursors");
            digest.update(secret);
            UnboundKey::new(&AES_256_GCM_SIV, &digest.finalize()).map(LessSafeKey::new)
        };
        let keys: Result<Vec<_>, _> = secrets.into_iter().map(derive).collect();
        let keys = keys.map_err(|_| KeyDerivationError)?;
        if keys.is_empty() { Err(KeyDerivationError) } else { Ok(Self(keys)) }
    }

    /// Seals `value` for a link. Only [`open`](Self::open) with the same `context`, such as the query of the search, returns it. Equal
    /// values are sealed equally, so that the same page has the same bytes; the cipher allows a constant nonce (RFC 8452 9). For a
    /// value of more than 6 kilobytes of JSON the result is empty, which `open` rejects.
    pub fn seal<V: Serialize>(&self, context: &str, value: &V) -> String {
        let mut text = serde_json::to_vec(&Sealed(VERSION, value)).unwrap_or_default();
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        let sealed = self
            .0
            .first()
            .map(|key| key.seal_in_place_append_tag(nonce, Aad::from(context.as_bytes()), &mut text));
        if !matches!(sealed, Some(Ok(()))) {
            // Only texts of gigabytes cannot be sealed. The result is then empty, never the unsealed text.
            text.clear();
        }
        let sealed = URL_SAFE_NO_PAD.encode(text);
        if sealed.len() > MAX_LEN { String::new() } else { sealed }
    }

    /// Opens a text that [`seal`](Self::seal) created with the same `context`; `None` for any other text.
    pub fn open<V: DeserializeOwned>(&self, context: &str, text: &str) -> Option<V> {
        if text.len() > MAX_LEN {
            return None;
        }
        let sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
        self.0.iter().find_map(|key| {
            let mut sealed = sealed.clone();
            let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
            let json = key.open_in_place(nonce, Aad::from(context.as_bytes()), &mut sealed).ok()?;
            let Sealed(version, value) = serde_json::from_slice(json).ok()?;
            (version == VERSION).then_some(value)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(secret: &str) -> SealingKeys {
        keys(&[secret])
    }

    fn keys(secrets: &[&str]) -> SealingKeys {
        SealingKeys::derive(secrets.iter().map(|secret| secret.as_bytes())).unwrap()
    }

    #[test]
    fn a_cursor_of_an_old_key_is_opened() {
        let cursor = key("old").seal("q", &1_u32);
        assert_eq!(keys(&["new", "old"]).open("q", &cursor), Some(1_u32));
        assert_eq!(keys(&["new", "old"]).seal("q", &1_u32), key("new").seal("q", &1_u32));
        assert_eq!(key("new").open::<u32>("q", &cursor), None);
        assert!(SealingKeys::derive([]).is_err());
    }

    #[test]
    fn every_gateway_with_the_same_secret_opens_a_cursor() {
        let cursor = key("s").seal("patient=a", &(7_u32, "1.2.3"));
        assert_eq!(key("s").open("patient=a", &cursor), Some((7_u32, "1.2.3".to_owned())));
        assert_eq!(
            key("s").seal("patient=a", &(7_u32, "1.2.3")),
            cursor,
            "equal positions have equal cursors"
        );
    }

    #[test]
    fn a_sealed_value_is_not_readable_and_is_valid_only_in_its_context() {
        let cursor = key("s").seal("patient=a", &"1.2.3");
        let bytes = URL_SAFE_NO_PAD.decode(&cursor).unwrap();
        assert!(!bytes.windows(5).any(|window| window == b"1.2.3"));
        assert_eq!(key("s").open::<String>("patient=b", &cursor), None);
        assert_eq!(key("t").open::<String>("patient=a", &cursor), None);
    }

    #[test]
    fn a_cursor_with_a_changed_byte_is_rejected() {
        let cursor = key("s").seal("q", &"1.2.3");
        let bytes = URL_SAFE_NO_PAD.decode(&cursor).unwrap();
        for position in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[position] ^= 1;
            assert_eq!(key("s").open::<String>("q", &URL_SAFE_NO_PAD.encode(changed)), None, "{position}");
        }
        assert_eq!(key("s").open::<String>("q", &"A".repeat(MAX_LEN + 1)), None);
    }

    #[test]
    fn a_cursor_opens_up_to_the_maximum_length_and_is_empty_beyond_it() {
        let round_trip = |text: &str| key("s").open::<String>("q", &key("s").seal("q", &text));
        let (longest, longer) = ("a".repeat(MAX_LEN / 4 * 3 - 22), "a".repeat(MAX_LEN / 4 * 3 - 21));
        assert_eq!(round_trip(&longest).as_ref(), Some(&longest));
        assert_eq!(key("s").seal("q", &longer), "");
        assert_eq!(round_trip(&longer), None);
    }

    proptest! {
        #[test]
        fn any_other_text_is_rejected(text in "\\PC{0,60}") {
            prop_assert_eq!(key("s").open::<String>("q", &text), None);
        }
    }
}

//! Secrets: in the key itself, or in a file that a key ending in `_file` names. They never reach a message.

use std::path::PathBuf;

use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

use super::document::Value;
use super::error::ConfigLocation;
use super::section::{Section, Set};
use super::values::text;

/// A token with all its claims takes a few kilobytes; what is larger is another file.
const MAX_SECRET_SIZE: usize = 16 * 1024;

/// A secret that may be there, may be wrong, or may be missing.
pub(super) enum Secret {
    Missing,
    Wrong,
    Found(Set<SecretString>),
}

impl Secret {
    /// From `key` or from the file that `file_key` names. Of the two, one from the environment overrides one from the
    /// file; otherwise there must not be both.
    pub(super) fn take(section: &mut Section<'_>, key: &'static str, file_key: &'static str) -> Self {
        let was_set = section.has(key) || section.has(file_key);
        let direct = section.take(key, direct_secret);
        let named = section.take(file_key, text);
        let (direct, named) = match (direct, named) {
            (Some(direct), Some(named)) if direct.is_from_environment() == named.is_from_environment() => {
                section.error(
                    named.place,
                    file_key,
                    format!("stands beside {key}; one of the two is expected"),
                );
                return Self::Wrong;
            }
            (Some(direct), Some(_)) if direct.is_from_environment() => (Some(direct), None),
            (Some(_), Some(named)) => (None, Some(named)),
            either => either,
        };
        match (direct, named) {
            (Some(direct), _) => Self::Found(direct),
            (None, Some(Set { value, place })) => {
                let path = section.beside_the_file(&PathBuf::from(value));
                let read = std::fs::read_to_string(&path)
                    .map_err(|error| format!("cannot be read: {}", error.kind()));
                match read.and_then(|text| sound_secret(text.trim_end_matches(['\r', '\n']))) {
                    Ok(value) => Self::Found(Set { value, place }),
                    Err(problem) => {
                        section.error(place, file_key, format!("{}: {problem}", path.display()));
                        Self::Wrong
                    }
                }
            }
            (None, None) if was_set => Self::Wrong,
            (None, None) => Self::Missing,
        }
    }

    /// The secret, where it is there; that it is wrong was told already.
    pub(super) fn optional(self) -> Option<SecretString> {
        match self {
            Self::Found(set) => Some(set.value),
            Self::Missing | Self::Wrong => None,
        }
    }

    pub(super) fn place(&self) -> Option<&ConfigLocation> {
        match self {
            Self::Found(set) => Some(&set.place),
            Self::Missing | Self::Wrong => None,
        }
    }

    pub(super) fn required(self, section: &mut Section<'_>, key: &str) -> Option<SecretString> {
        match self {
            Self::Found(set) => Some(set.value),
            Self::Wrong => None,
            Self::Missing => {
                section.absent(key, &format!("set it, or {key}_file to a file that holds it"));
                None
            }
        }
    }
}

fn direct_secret(value: &Value) -> Result<SecretString, String> {
    match value {
        Value::Text(text) => sound_secret(text),
        _ => Err("text is expected".to_owned()),
    }
}

/// What can be sent in a header.
fn sound_secret(text: &str) -> Result<SecretString, String> {
    if text.is_empty() {
        return Err("the secret is empty".to_owned());
    }
    if text.len() > MAX_SECRET_SIZE {
        return Err(format!("the secret is longer than {MAX_SECRET_SIZE} bytes"));
    }
    let secret = SecretString::from(text);
    if HeaderValue::from_str(secret.expose_secret()).is_err() {
        return Err("the secret holds a character that no HTTP header can carry".to_owned());
    }
    Ok(secret)
}

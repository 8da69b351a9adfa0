//! `[archive.auth]`: how the gateway makes itself known to an archive. Secrets stand in the key itself, or in a file that
//! a key ending in `_file` names; they never reach a message.

use std::path::PathBuf;

use http::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use super::super::document::Value;
use super::super::section::{Section, Set};
use super::super::values::{one_of, text};
use crate::archive::Credentials;

/// A token with all its claims takes a few kilobytes; what is larger is another file.
const LARGEST_SECRET: usize = 16 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    None,
    Basic,
    Bearer,
    Header,
}

const KINDS: [(&str, Kind); 4] =
    [("none", Kind::None), ("basic", Kind::Basic), ("bearer", Kind::Bearer), ("header", Kind::Header)];

pub(super) fn read(section: &mut Section<'_>) -> Option<Credentials> {
    let has_kind = section.has("kind");
    let kind = section.take("kind", one_of(&KINDS));
    let username = section.take("username", username);
    let password = Secret::take(section, "password", "password_file");
    let token = Secret::take(section, "token", "token_file");
    let name = section.take("name", header_name);
    let value = Secret::take(section, "value", "value_file");
    let kind = match kind {
        Some(kind) => kind.value,
        None if has_kind => return None,
        None => Kind::None,
    };
    let foreign = [
        ("username", username.as_ref().map(|set| &set.place), Kind::Basic),
        ("password", password.place(), Kind::Basic),
        ("token", token.place(), Kind::Bearer),
        ("name", name.as_ref().map(|set| &set.place), Kind::Header),
        ("value", value.place(), Kind::Header),
    ];
    for (key, place, owner) in foreign {
        if let Some(place) = place.filter(|_| owner != kind) {
            let owner = KINDS.iter().find(|(_, kind)| *kind == owner).map_or("", |(name, _)| name);
            section.error(place.clone(), key, format!("belongs to kind = {owner:?}"));
        }
    }
    match kind {
        Kind::None => Some(Credentials::None),
        Kind::Basic => {
            if username.is_none() {
                section.absent("username", "kind = \"basic\" needs it");
            }
            let password = password.required(section, "password");
            Some(Credentials::Basic { username: username?.value, password: password? })
        }
        Kind::Bearer => token.required(section, "token").map(|token| Credentials::Bearer { token }),
        Kind::Header => {
            if name.is_none() {
                section.absent("name", "kind = \"header\" needs the header's name");
            }
            let value = value.required(section, "value");
            Some(Credentials::Header { name: name?.value, value: value? })
        }
    }
}

/// RFC 7617: a colon would end the user name.
fn username(value: &Value) -> Result<String, String> {
    let text = text(value)?;
    if text.contains(':') { Err("a user name without a colon is expected".to_owned()) } else { Ok(text) }
}

fn header_name(value: &Value) -> Result<HeaderName, String> {
    let expected = "the name of a header is expected, like \"X-Api-Key\"";
    text(value)?.parse().map_err(|_| expected.to_owned())
}

/// A secret that may be there, may be wrong, or may be missing.
enum Secret {
    Missing,
    Wrong,
    Found(Set<SecretString>),
}

impl Secret {
    /// From `key` or from the file that `file_key` names. Of the two, one from the environment overrides one from the
    /// file; otherwise there must not be both.
    fn take(section: &mut Section<'_>, key: &'static str, file_key: &'static str) -> Self {
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

    fn place(&self) -> Option<&super::super::error::Place> {
        match self {
            Self::Found(set) => Some(&set.place),
            Self::Missing | Self::Wrong => None,
        }
    }

    fn required(self, section: &mut Section<'_>, key: &str) -> Option<SecretString> {
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
    if text.len() > LARGEST_SECRET {
        return Err(format!("the secret is longer than {LARGEST_SECRET} bytes"));
    }
    let secret = SecretString::from(text);
    if HeaderValue::from_str(secret.expose_secret()).is_err() {
        return Err("the secret holds a character that no HTTP header can carry".to_owned());
    }
    Ok(secret)
}

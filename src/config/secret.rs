//! Secrets: the value of a key, or the content of the file in the key with the suffix `_file`. They are never printed.

use std::path::PathBuf;

use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

use super::document::Value;
use super::error::ConfigLocation;
use super::section::{Section, Setting};
use super::values::text;

/// Maximum size of a secret, in bytes. A token with many claims takes a few kilobytes; a larger file is the wrong file.
const MAX_SECRET_SIZE: usize = 16 * 1024;

/// A secret that may be set, invalid, or missing.
pub(super) enum Secret {
    Missing,
    Invalid,
    Found(Setting<SecretString>),
}

impl Secret {
    /// Takes the secret from `key`, or from the file in `file_key`. If one of the two keys is set by an environment variable, it
    /// overrides the other; otherwise only one key may be set.
    pub(super) fn take(section: &mut Section<'_>, key: &'static str, file_key: &'static str) -> Self {
        Self::take_from(section, key, file_key, trim_line, validate_header)
    }

    /// Does the same for a secret that is not sent in a header.
    pub(super) fn take_text(section: &mut Section<'_>, key: &'static str, file_key: &'static str) -> Self {
        Self::take_from(section, key, file_key, trim_line, validate_text)
    }

    /// Does the same for several secrets, which white space separates: those in a file can be on lines of their own.
    pub(super) fn take_several(section: &mut Section<'_>, key: &'static str, file_key: &'static str) -> Self {
        let join = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        Self::take_from(section, key, file_key, join, validate_header)
    }

    fn take_from(
        section: &mut Section<'_>,
        key: &'static str,
        file_key: &'static str,
        read_file: fn(&str) -> String,
        validate: fn(&str) -> Result<SecretString, String>,
    ) -> Self {
        let was_set = section.is_set(key) || section.is_set(file_key);
        let from_key = section.take(key, |value| read_secret(value, validate));
        let from_file = section.take(file_key, text);
        let (from_key, from_file) = match (from_key, from_file) {
            (Some(from_key), Some(from_file))
                if from_key.is_from_environment() == from_file.is_from_environment() =>
            {
                section.report_error(
                    from_file.location,
                    file_key,
                    format!("is set together with {key}; remove one of them"),
                );
                return Self::Invalid;
            }
            (Some(from_key), Some(_)) if from_key.is_from_environment() => (Some(from_key), None),
            (Some(_), Some(from_file)) => (None, Some(from_file)),
            settings => settings,
        };
        match (from_key, from_file) {
            (Some(from_key), _) => Self::Found(from_key),
            (None, Some(Setting { value, location })) => {
                let path = section.resolve_path(&PathBuf::from(value));
                let read = std::fs::read_to_string(&path).map_err(|error| format!("cannot be read: {error}"));
                match read.and_then(|text| validate(&read_file(&text))) {
                    Ok(value) => Self::Found(Setting { value, location }),
                    Err(problem) => {
                        section.report_error(location, file_key, format!("{}: {problem}", path.display()));
                        Self::Invalid
                    }
                }
            }
            (None, None) if was_set => Self::Invalid,
            (None, None) => Self::Missing,
        }
    }

    /// Returns the secret, if it is set and valid.
    pub(super) fn into_optional(self) -> Option<SecretString> {
        match self {
            Self::Found(setting) => Some(setting.value),
            Self::Missing | Self::Invalid => None,
        }
    }

    pub(super) fn location(&self) -> Option<&ConfigLocation> {
        match self {
            Self::Found(setting) => Some(&setting.location),
            Self::Missing | Self::Invalid => None,
        }
    }

    pub(super) fn into_required(self, section: &mut Section<'_>, key: &str) -> Option<SecretString> {
        match self {
            Self::Found(setting) => Some(setting.value),
            Self::Invalid => None,
            Self::Missing => {
                section.report_missing(key, &format!("set it, or set {key}_file to a file that contains it"));
                None
            }
        }
    }
}

fn trim_line(text: &str) -> String {
    text.trim_end_matches(['\r', '\n']).to_owned()
}

fn read_secret(
    value: &Value,
    validate: fn(&str) -> Result<SecretString, String>,
) -> Result<SecretString, String> {
    match value {
        Value::Text(text) => validate(text),
        _ => Err("expected text".to_owned()),
    }
}

/// Checks that a secret can be sent in a header.
fn validate_header(text: &str) -> Result<SecretString, String> {
    let secret = validate_text(text)?;
    if HeaderValue::from_str(secret.expose_secret()).is_err() {
        return Err("the secret contains a character that HTTP headers do not allow".to_owned());
    }
    Ok(secret)
}

fn validate_text(text: &str) -> Result<SecretString, String> {
    if text.is_empty() {
        return Err("the secret is empty".to_owned());
    }
    if text.len() > MAX_SECRET_SIZE {
        return Err(format!("the secret is longer than {MAX_SECRET_SIZE} bytes"));
    }
    Ok(SecretString::from(text))
}

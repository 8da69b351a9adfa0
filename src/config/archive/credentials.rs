//! `[archive.auth]`: the credentials that the gateway sends to an archive. A secret is the value of its key, or the content of
//! the file in the key with the suffix `_file`. Secrets are never printed.

use http::HeaderName;

use super::super::document::Value;
use super::super::secret::Secret;
use super::super::section::Section;
use super::super::values::{one_of, text};
use crate::upstream::Credentials;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CredentialKind {
    None,
    Basic,
    Bearer,
    Header,
}

const CREDENTIAL_KINDS: [(&str, CredentialKind); 4] = [
    ("none", CredentialKind::None),
    ("basic", CredentialKind::Basic),
    ("bearer", CredentialKind::Bearer),
    ("header", CredentialKind::Header),
];

pub(super) fn read(section: &mut Section<'_>) -> Option<Credentials> {
    let has_kind = section.is_set("kind");
    let kind = section.take("kind", one_of(&CREDENTIAL_KINDS));
    let username = section.take("username", username);
    let password = Secret::take(section, "password", "password_file");
    let token = Secret::take(section, "token", "token_file");
    let name = section.take("name", header_name);
    let value = Secret::take(section, "value", "value_file");
    let kind = match kind {
        Some(kind) => kind.value,
        None if has_kind => return None,
        None => CredentialKind::None,
    };
    let keys = [
        ("username", username.as_ref().map(|setting| &setting.location), CredentialKind::Basic),
        ("password", password.location(), CredentialKind::Basic),
        ("token", token.location(), CredentialKind::Bearer),
        ("name", name.as_ref().map(|setting| &setting.location), CredentialKind::Header),
        ("value", value.location(), CredentialKind::Header),
    ];
    for (key, location, required_kind) in keys {
        if let Some(location) = location.filter(|_| required_kind != kind) {
            let required_kind =
                CREDENTIAL_KINDS.iter().find(|(_, kind)| *kind == required_kind).map_or("", |(name, _)| name);
            section.report_error(
                location.clone(),
                key,
                format!("is used only with kind = {required_kind:?}; remove it, or change kind"),
            );
        }
    }
    match kind {
        CredentialKind::None => Some(Credentials::None),
        CredentialKind::Basic => {
            if username.is_none() {
                section.report_missing("username", "set it, because kind is \"basic\"");
            }
            let password = password.into_required(section, "password");
            Some(Credentials::Basic { username: username?.value, password: password? })
        }
        CredentialKind::Bearer => {
            token.into_required(section, "token").map(|token| Credentials::Bearer { token })
        }
        CredentialKind::Header => {
            if name.is_none() {
                section.report_missing("name", "set the name of the header, because kind is \"header\"");
            }
            let value = value.into_required(section, "value");
            Some(Credentials::Header { name: name?.value, value: value? })
        }
    }
}

/// Reads a user name, which must not contain a colon (RFC 7617 2).
fn username(value: &Value) -> Result<String, String> {
    let text = text(value)?;
    if text.contains(':') { Err("expected a user name without a colon".to_owned()) } else { Ok(text) }
}

fn header_name(value: &Value) -> Result<HeaderName, String> {
    let expected = "expected the name of a header, such as \"X-Api-Key\"";
    text(value)?.parse().map_err(|_| expected.to_owned())
}

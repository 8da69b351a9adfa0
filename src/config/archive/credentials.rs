//! `[archive.auth]`: how the gateway makes itself known to an archive. Secrets stand in the key itself, or in a file that
//! a key ending in `_file` names; they never reach a message.

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

const KINDS: [(&str, CredentialKind); 4] = [
    ("none", CredentialKind::None),
    ("basic", CredentialKind::Basic),
    ("bearer", CredentialKind::Bearer),
    ("header", CredentialKind::Header),
];

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
        None => CredentialKind::None,
    };
    let foreign = [
        ("username", username.as_ref().map(|set| &set.place), CredentialKind::Basic),
        ("password", password.place(), CredentialKind::Basic),
        ("token", token.place(), CredentialKind::Bearer),
        ("name", name.as_ref().map(|set| &set.place), CredentialKind::Header),
        ("value", value.place(), CredentialKind::Header),
    ];
    for (key, place, owner) in foreign {
        if let Some(place) = place.filter(|_| owner != kind) {
            let owner = KINDS.iter().find(|(_, kind)| *kind == owner).map_or("", |(name, _)| name);
            section.error(place.clone(), key, format!("belongs to kind = {owner:?}"));
        }
    }
    match kind {
        CredentialKind::None => Some(Credentials::None),
        CredentialKind::Basic => {
            if username.is_none() {
                section.absent("username", "kind = \"basic\" needs it");
            }
            let password = password.required(section, "password");
            Some(Credentials::Basic { username: username?.value, password: password? })
        }
        CredentialKind::Bearer => token.required(section, "token").map(|token| Credentials::Bearer { token }),
        CredentialKind::Header => {
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

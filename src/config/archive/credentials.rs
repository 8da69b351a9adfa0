//! `[archive.auth]`: how the gateway makes itself known to an archive. Secrets stand in the key itself, or in a file that
//! a key ending in `_file` names; they never reach a message.

use http::HeaderName;

use super::super::document::Value;
use super::super::secret::Secret;
use super::super::section::Section;
use super::super::values::{one_of, text};
use crate::archive::Credentials;

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

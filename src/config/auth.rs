//! `[auth]`: who may ask. There is no default: a gateway that shows patients to everybody must have been told to.

use super::document::Value;
use super::section::Section;

/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMode {
    /// Everybody who can reach the listener.
    Open,
}

/// Who may ask, and how that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthConfig {
    /// How callers are authenticated.
    pub mode: AuthMode,
}

impl AuthConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        let expected = "choose who may ask; mode = \"open\" answers everybody who can reach the listener";
        let mode = section.required("mode", read_mode, expected)?;
        Some(Self { mode: mode.value })
    }
}

fn read_mode(value: &Value) -> Result<AuthMode, String> {
    match value {
        Value::Text(text) if text == "open" => Ok(AuthMode::Open),
        Value::Text(text) if text == "smart" => {
            Err("this version has no SMART access control; \"open\" is the only mode it has, behind something that asks who is calling"
                .to_owned())
        }
        _ => Err("\"open\" is expected, the only mode that this version has".to_owned()),
    }
}

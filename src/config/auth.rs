//! `[auth]`: access control. It has no default: an operator must decide that every client may read the data of patients.

use super::document::Value;
use super::section::Section;

/// The method by which callers are authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMode {
    /// Callers are not authenticated: anyone who can reach the listener can read all data.
    Open,
}

/// Access control.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthConfig {
    /// The method by which callers are authenticated.
    pub mode: AuthMode,
}

impl AuthConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        let expected = "choose the access control; mode = \"open\" means none: anyone who can reach the listener can read \
                        every patient's data";
        let mode = section.take_required("mode", read_mode, expected)?;
        Some(Self { mode: mode.value })
    }
}

fn read_mode(value: &Value) -> Result<AuthMode, String> {
    match value {
        Value::Text(text) if text == "open" => Ok(AuthMode::Open),
        Value::Text(text) if matches!(text.as_str(), "tokens" | "smart") => {
            Err("this version has no access control by tokens; set mode = \"open\" and put an authenticating proxy in front"
                .to_owned())
        }
        _ => Err("expected \"open\", the only mode of this version".to_owned()),
    }
}

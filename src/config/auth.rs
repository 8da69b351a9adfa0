//! `[auth]`: access control. It has no default: an operator must decide that every client may read the data of patients.

use super::document::Value;
use super::error::ConfigLocation;
use super::section::Section;
use super::server::ListenAddress;
use super::values::boolean;

/// The environment variable that sets `allow_remote`.
const ALLOW_REMOTE_VARIABLE: &str = "GATEWAY_AUTH__ALLOW_REMOTE";

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
    /// Whether other machines may reach a listener without access control.
    pub allow_remote: bool,
}

impl AuthConfig {
    /// Reads the section. `listen` is the address of the public listener: other machines reach it unless it is a loopback address,
    /// and then mode `open` is not enough.
    pub(super) fn read(section: &mut Section<'_>, listen: Option<ListenAddress>) -> Option<Self> {
        let allow_remote = section.take_or("allow_remote", boolean, false);
        let expected = "choose the access control; mode = \"open\" means none: anyone who can reach the listener can read \
                        every patient's data";
        let mode = section.take_required("mode", read_mode, expected)?;
        let remote_listen = listen.filter(|listen| !listen.address.ip().to_canonical().is_loopback());
        if let (AuthMode::Open, false, Some(listen)) = (mode.value, allow_remote, remote_listen) {
            let address = listen.address;
            let origin = match listen.location {
                Some(ConfigLocation::Variable(name)) => format!(" (set by the environment variable {name})"),
                _ => String::new(),
            };
            let message = format!(
                "server.listen is {address}{origin}, which other machines can reach, and mode = \"open\" lets everyone read every \
                 patient's data; listen on 127.0.0.1, or, if only authorized people or an authenticating proxy can reach the address, \
                 set allow_remote = true in the file or {ALLOW_REMOTE_VARIABLE}=true in the environment"
            );
            section.report_error(mode.location, "allow_remote", message);
        }
        Some(Self { mode: mode.value, allow_remote })
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

//! The configuration of one archive.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use secrecy::SecretString;
use url::Url;

use super::{ArchiveId, Profile};

/// One archive as configured.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its id.
    pub id: ArchiveId,
    /// Its display name.
    pub name: String,
    /// Root of its QIDO-RS services.
    pub qido_url: Url,
    /// Root of its WADO-RS services.
    pub wado_url: Url,
    /// Its URI service, if it has one.
    pub wado_uri_url: Option<Url>,
    /// Its profile: the quirks of its vendor.
    pub profile: Profile,
    /// The credentials that the gateway sends to it.
    pub credentials: Credentials,
    /// How long the response headers, and each further chunk of the body, may take.
    pub timeout: Duration,
    /// Maximum number of concurrent searches and, separately, of metadata reads.
    pub max_concurrency: usize,
    /// Read buffer per response body, in bytes; up to four times as much is buffered while the client does not read.
    pub stream_buffer: usize,
    /// Allows link-local addresses, where cloud metadata services hand out credentials.
    pub allow_link_local: bool,
    /// CA certificates (PEM) for the archive's certificate; `None` uses the system trust store.
    pub ca: Option<Vec<u8>>,
}

/// The credentials that the gateway sends to an archive.
#[derive(Debug, Clone, Default)]
pub enum Credentials {
    /// No credentials.
    #[default]
    None,
    /// HTTP Basic (RFC 7617).
    Basic {
        /// User name.
        username: String,
        /// Password.
        password: SecretString,
    },
    /// A bearer token (RFC 6750).
    Bearer {
        /// The token.
        token: SecretString,
    },
    /// A header that the archive defines.
    Header {
        /// Its name.
        name: HeaderName,
        /// Its value.
        value: SecretString,
    },
}

impl Credentials {
    /// The header that carries the credentials, marked as sensitive so that it is never printed; `None` if there are no
    /// credentials, or they contain a character that no header can carry.
    pub(super) fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        use base64::Engine;
        use secrecy::ExposeSecret;
        let (name, text) = match self {
            Self::None => return None,
            Self::Basic { username, password } => {
                let pair = format!("{username}:{}", password.expose_secret());
                let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
                (http::header::AUTHORIZATION, format!("Basic {encoded}"))
            }
            Self::Bearer { token } => {
                (http::header::AUTHORIZATION, format!("Bearer {}", token.expose_secret()))
            }
            Self::Header { name, value } => (name.clone(), value.expose_secret().to_owned()),
        };
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some((name, value))
    }
}

/// Why no client can be made for an archive.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SettingsError {
    /// The CA certificates cannot be parsed.
    #[error("archive {0}: tls.ca does not contain PEM certificates")]
    Certificates(ArchiveId),
    /// The credentials contain a character that no header can carry.
    #[error("archive {0}: the credentials contain a character that is not allowed in an HTTP header")]
    Credentials(ArchiveId),
    /// The TLS library cannot be initialized.
    #[error("archive {0}: the HTTP client cannot be created; is the system trust store readable?")]
    Client(ArchiveId),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_never_print() {
        let basic = Credentials::Basic { username: "gw".to_owned(), password: "hush".into() };
        assert!(!format!("{basic:?}").contains("hush"));
        let (_, value) = basic.header().unwrap();
        assert_eq!(value.to_str().unwrap(), "Basic Z3c6aHVzaA==");
        assert!(!format!("{value:?}").contains("Z3c6"));
    }

    #[test]
    fn a_header_carries_no_line_break() {
        assert!(Credentials::Bearer { token: "a\r\nb: c".into() }.header().is_none());
    }
}

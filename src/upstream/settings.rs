//! Everything that is told to the gateway about one archive.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use secrecy::SecretString;
use url::Url;

use super::{ArchiveId, Profile};

/// One archive as it is configured.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its short name.
    pub id: ArchiveId,
    /// Its name for people.
    pub name: String,
    /// Root of its QIDO-RS services.
    pub qido_url: Url,
    /// Root of its WADO-RS services.
    pub wado_url: Url,
    /// Its URI service, where it has one.
    pub wado_uri_url: Option<Url>,
    /// Its quirks.
    pub profile: Profile,
    /// How the gateway makes itself known to it.
    pub credentials: Credentials,
    /// How long the head of an answer, and each further piece of its body, may take.
    pub timeout: Duration,
    /// How many searches, and as many metadata reads, are under way at once.
    pub max_concurrency: usize,
    /// As much of one body is read at once, in bytes; up to four times as much is held while its client takes nothing.
    pub stream_buffer: usize,
    /// UrlMap of a network's own, at which clouds hand out credentials, may be the archive's.
    pub allow_link_local: bool,
    /// Certificates, PEM, of the authority that signed the archive's own; the system's authorities when there is none.
    pub ca: Option<Vec<u8>>,
}

/// How the gateway makes itself known to an archive.
#[derive(Debug, Clone, Default)]
pub enum Credentials {
    /// Not at all.
    #[default]
    None,
    /// RFC 7617.
    Basic {
        /// User name.
        username: String,
        /// Password.
        password: SecretString,
    },
    /// RFC 6750.
    Bearer {
        /// The token.
        token: SecretString,
    },
    /// A header of the archive's own making.
    Header {
        /// Its name.
        name: HeaderName,
        /// Its value.
        value: SecretString,
    },
}

impl Credentials {
    /// The header that carries them, marked so that nothing prints it; `None` when there are none or they hold a
    /// character that no header can.
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
    /// The authority's certificates cannot be read.
    #[error("archive {0}: the certificates of tls.ca are no PEM certificates")]
    Certificates(ArchiveId),
    /// The credentials hold a character that no header can carry.
    #[error("archive {0}: the credentials hold a character that no HTTP header can carry")]
    Credentials(ArchiveId),
    /// The TLS library refuses to start.
    #[error("archive {0}: the HTTP client cannot be made; are the system's certificates readable?")]
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

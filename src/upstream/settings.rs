//! The configuration of one archive.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use secrecy::SecretString;
use url::Url;

use super::client::RETRIEVALS_PER_SEARCH;
use super::{ArchiveId, Profile};
use dicom_model::UidRule;

/// One archive as configured.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The id of the archive.
    pub id: ArchiveId,
    /// The display name of the archive.
    pub name: String,
    /// The root URL of the QIDO-RS services.
    pub qido_url: Url,
    /// The root URL of the WADO-RS services.
    pub wado_url: Url,
    /// The URL of the URI service, if the archive has one.
    pub wado_uri_url: Option<Url>,
    /// The root URL of the REST API with the change feed, if it is used.
    pub rest_url: Option<Url>,
    /// The profile of the archive, which describes the quirks of the product.
    pub profile: Profile,
    /// Which texts are accepted as the UIDs of the archive's studies, series and instances.
    pub uid_rule: UidRule,
    /// The credentials that the gateway sends to the archive.
    pub credentials: Credentials,
    /// The timeout of the response headers, and of each further chunk of the body.
    pub timeout: Duration,
    /// Minimum rate of a body in bytes per second, measured whenever the gateway has waited for `timeout` in total.
    pub min_rate: usize,
    /// Maximum number of concurrent searches and, separately, of metadata reads.
    pub max_concurrency: usize,
    /// Maximum number of requests that wait for their first search or, separately, metadata read.
    pub max_queue: usize,
    /// Maximum time that a request waits for its first call.
    pub queue_timeout: Duration,
    /// Read buffer per response body, in bytes; up to four times as much is buffered while the client does not read.
    pub stream_buffer: usize,
    /// Whether link-local addresses are allowed, at which cloud metadata services return credentials.
    pub allow_link_local: bool,
    /// The trusted CA certificates (PEM); `None` uses the trust store of the system.
    pub ca: Option<Vec<u8>>,
}

impl Settings {
    /// Returns the maximum number of concurrent calls: searches, metadata reads and retrievals.
    pub fn max_calls(&self) -> usize {
        self.max_concurrency.max(1).saturating_mul(2 + RETRIEVALS_PER_SEARCH)
    }
}

/// The credentials that the gateway sends to an archive.
#[derive(Debug, Clone, Default)]
pub enum Credentials {
    /// No credentials.
    #[default]
    None,
    /// HTTP Basic (RFC 7617).
    Basic {
        /// The user name.
        username: String,
        /// The password.
        password: SecretString,
    },
    /// A bearer token (RFC 6750).
    Bearer {
        /// The token.
        token: SecretString,
    },
    /// A header that the archive defines.
    Header {
        /// The name of the header.
        name: HeaderName,
        /// The value of the header.
        value: SecretString,
    },
}

impl Credentials {
    /// Returns the header with the credentials, marked as sensitive so that it is never printed. `None` if there are no
    /// credentials, or if they contain a character that is not allowed in a header.
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

/// The reason why no client can be created for an archive.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SettingsError {
    /// The CA certificates cannot be parsed.
    #[error("archive {0}: tls.ca does not contain PEM certificates")]
    Certificates(ArchiveId),
    /// The credentials contain a character that is not allowed in a header.
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
    fn credentials_are_never_printed() {
        let basic = Credentials::Basic { username: "gw".to_owned(), password: "hush".into() };
        assert!(!format!("{basic:?}").contains("hush"));
        let (_, value) = basic.header().unwrap();
        assert_eq!(value.to_str().unwrap(), "Basic Z3c6aHVzaA==");
        assert!(!format!("{value:?}").contains("Z3c6"));
    }

    #[test]
    fn credentials_with_a_line_break_are_rejected() {
        assert!(Credentials::Bearer { token: "a\r\nb: c".into() }.header().is_none());
    }
}

//! TLS of the public listener (RFC 8446) with rustls. The client chooses HTTP/2 or HTTP/1.1 in the handshake (ALPN, RFC 7301). This
//! module does not know about files: the caller reads them.

use std::fmt;
use std::io;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

/// The ALPN identifier of HTTP/2 (RFC 9113 3.2).
const HTTP2: &[u8] = b"h2";

/// The TLS configuration with certificate chain and private key.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

/// Why a certificate and a key cannot be used. Never contains the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// The certificate file contains no valid certificate.
    #[error("contains no valid PEM certificate")]
    Certificate,
    /// The key file contains no valid key.
    #[error("contains no valid PEM private key; encrypted keys are not supported")]
    Key,
    /// The key does not belong to the certificate, or its type is not supported.
    #[error("the key does not belong to the certificate, or its type is not supported")]
    Mismatch,
}

impl Tls {
    /// Builds the configuration from a certificate chain and its private key, both in PEM format.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(certificates)
            .collect::<Result<_, _>>()
            .map_err(|_| TlsError::Certificate)?;
        if chain.is_empty() {
            return Err(TlsError::Certificate);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError::Key)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(|_| TlsError::Mismatch)?;
        config.alpn_protocols = vec![HTTP2.to_vec(), b"http/1.1".to_vec()];
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// Performs the TLS handshake.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.0.accept(stream).await
    }
}

/// Whether the client chose HTTP/2.
pub(super) fn has_negotiated_http2(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(HTTP2)
}

impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tls").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &[u8] = include_bytes!("../../../tests/tls/server.pem");
    const KEY: &[u8] = include_bytes!("../../../tests/tls/server.key");

    #[test]
    fn invalid_or_mismatched_certificates_and_keys_are_rejected() {
        assert!(Tls::from_pem(CERTIFICATE, KEY).is_ok());
        for invalid in [&b""[..], b"nonsense", KEY] {
            assert_eq!(Tls::from_pem(invalid, KEY).unwrap_err(), TlsError::Certificate);
        }
        assert_eq!(Tls::from_pem(CERTIFICATE, CERTIFICATE).unwrap_err(), TlsError::Key);
        let authority = include_bytes!("../../../tests/tls/ca.pem");
        assert_eq!(Tls::from_pem(authority, KEY).unwrap_err(), TlsError::Mismatch);
    }
}

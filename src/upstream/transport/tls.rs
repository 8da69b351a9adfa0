//! The TLS configuration of the clients. They trust only the CA certificates that are configured for the archive, or, if there
//! are none, those of the system.

use std::sync::Arc;

use rustls_platform_verifier::BuilderVerifierExt;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::upstream::{Settings, SettingsError};

/// Builds the TLS configuration, without ALPN protocols, which each client sets itself. Reads the CA certificates of the system
/// unless `settings` contains CA certificates.
pub(super) fn client_config(settings: &Settings) -> Result<ClientConfig, SettingsError> {
    let client_error = |_| SettingsError::Client(settings.id.clone());
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(client_error)?;
    let builder = match &settings.ca {
        Some(pem) => {
            let roots = root_store(pem).ok_or_else(|| SettingsError::Certificates(settings.id.clone()))?;
            builder.with_root_certificates(roots)
        }
        None => builder.with_platform_verifier().map_err(client_error)?,
    };
    Ok(builder.with_no_client_auth())
}

/// Builds the root store from PEM certificates. `None` if there are none or one is invalid.
fn root_store(pem: &[u8]) -> Option<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.ok()?).ok()?;
    }
    (!roots.is_empty()).then_some(roots)
}

//! Whom the clients trust: the archive's own authority where one is configured, and only that; else the system's.

use std::sync::Arc;

use rustls_platform_verifier::BuilderVerifierExt;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::upstream::{Settings, SettingsError};

/// Without protocols, which each client has of its own. Reads the system's certificates.
pub(super) fn client_config(settings: &Settings) -> Result<ClientConfig, SettingsError> {
    let refused = |_| SettingsError::Client(settings.id.clone());
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(refused)?;
    let builder = match &settings.ca {
        Some(pem) => {
            let roots = roots(pem).ok_or_else(|| SettingsError::Certificates(settings.id.clone()))?;
            builder.with_root_certificates(roots)
        }
        None => builder.with_platform_verifier().map_err(refused)?,
    };
    Ok(builder.with_no_client_auth())
}

/// Of certificates in PEM, one at least.
fn roots(pem: &[u8]) -> Option<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.ok()?).ok()?;
    }
    (!roots.is_empty()).then_some(roots)
}

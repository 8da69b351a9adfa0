//! Endpoint resources: one per archive, with an address below the public base URL of the gateway.

use super::FhirRequest;
use crate::studies::ArchiveSource;
use fhir_r4::types::Endpoint;

/// Whether retrieval requires an access token. In the authentication mode `open`, the only mode, it does not.
const REQUIRES_ACCESS_TOKEN: bool = false;

/// Builds the Endpoint of an archive.
pub(super) fn build_endpoint(source: &ArchiveSource, request: &FhirRequest<'_>) -> Endpoint {
    let id = source.archive.id().as_str();
    let address = format!("{}/dicom-web/{id}", request.public_base);
    source.archive.probe_in_background();
    source.endpoint(address, REQUIRES_ACCESS_TOKEN)
}

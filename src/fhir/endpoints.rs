//! Endpoint resources: one per archive, with the URL under which the caller knows the gateway.

use super::FhirRequest;
use crate::mapping;
use crate::studies::ArchiveSource;
use fhir_r4::types::Endpoint;

/// Whether retrieval requires a token; in mode `open` it does not.
const REQUIRES_ACCESS_TOKEN: bool = false;

pub(super) fn endpoint_of(source: &ArchiveSource, request: &FhirRequest<'_>) -> Endpoint {
    let id = source.archive.id().as_str();
    let address = format!("{}/dicom-web/{id}", request.public_base);
    let mut endpoint =
        mapping::endpoint(&source.context, &source.archive.settings().name, address, REQUIRES_ACCESS_TOKEN);
    endpoint.meta.last_updated = Some(format!("{:.3}", source.rules_seen_at));
    endpoint
}

//! Reads (R4 http#read, http#vread). Each resource has a version that changes with its content. A Patient has no time of
//! change, because archives describe patients only in their studies, each study in its own way.

use super::FhirRequest;
use super::endpoints::endpoint_of;
use crate::auth::Access;
use crate::change_log::VersionId;
use crate::encoded_resource::EncodedResource;
use crate::error::Failure;
use crate::fhir::FhirContext;
use crate::studies::ReadOutcome;
use crate::studies::Representation;
use crate::upstream::ArchiveId;
use dicom_model::StudyUid;
use fhir_r4::search::{ResourceType, ResultParameters, Summary};
use fhir_r4::types::{Endpoint, Meta, Narrated, Patient, Projection, project};

/// The current version of the resource `id`.
pub(super) async fn resource(
    context: &FhirContext,
    kind: ResourceType,
    id: &str,
    request: &FhirRequest<'_>,
    access: &Access,
) -> Result<EncodedResource, Failure> {
    match kind {
        ResourceType::ImagingStudy => imaging_study(context, id, request, access).await,
        ResourceType::Patient => patient(context, id, request, access).await,
        ResourceType::Endpoint => endpoint(context, id, request),
    }
}

/// `current` if it has this version: only the current version is stored.
pub(super) fn require_version(current: EncodedResource, version: &str) -> Result<EncodedResource, Failure> {
    if current.etag == format!("W/\"{version}\"") {
        return Ok(current);
    }
    Err(Failure::not_supported(
        "Version not found. This server has only the current version; read the resource without _history.",
    ))
}

async fn imaging_study(
    context: &FhirContext,
    id: &str,
    request: &FhirRequest<'_>,
    access: &Access,
) -> Result<EncodedResource, Failure> {
    let representation = representation_of_read(request)?;
    let missing = || Failure::not_found("No archive holds this study.");
    let uid = StudyUid::parse(id).map_err(|_| missing())?;
    if let Some(study) = context.studies.cached_study(&uid, &representation, access, request.freshness()) {
        return Ok(study.encoded.clone());
    }
    match context.studies.read(&uid, &representation, access, request.freshness()).await? {
        ReadOutcome::Found(entry) => Ok(entry.encoded.clone()),
        ReadOutcome::Gone => Err(Failure::gone("This study was deleted: no archive holds it any more.")),
        ReadOutcome::NotFound => Err(missing()),
    }
}

async fn patient(
    context: &FhirContext,
    id: &str,
    request: &FhirRequest<'_>,
    access: &Access,
) -> Result<EncodedResource, Failure> {
    let representation = representation_of_read(request)?;
    let found = context.studies.find_patient(id, access, request.freshness()).await?;
    let found = found.ok_or_else(|| Failure::not_found("No archive holds a study of this patient."))?;
    encode(&found.resource, &representation)
}

fn endpoint(context: &FhirContext, id: &str, request: &FhirRequest<'_>) -> Result<EncodedResource, Failure> {
    let representation = representation_of_read(request)?;
    let source = ArchiveId::parse(id).ok().and_then(|id| context.studies.source(&id));
    let source = source.ok_or_else(Failure::unknown_archive)?;
    encode(&endpoint_of(source, request), &representation)
}

fn representation_of_read(request: &FhirRequest<'_>) -> Result<Representation, Failure> {
    let shape = request.shape()?;
    if shape.summary == Summary::Count {
        return Err(Failure::bad_request(
            "value",
            "Parameter _summary: count applies to searches only, not to a read.",
        )
        .with_expression("http._summary"));
    }
    Ok(representation(&shape))
}

/// Which parts of each resource are requested.
pub(super) fn representation(result: &ResultParameters) -> Representation {
    match (&result.elements, result.summary) {
        (Some(names), _) => Representation::Elements(names.iter().map(|name| name.as_str().into()).collect()),
        (None, Summary::True) => Representation::Summary,
        (None, Summary::Text) => Representation::Text,
        (None, Summary::Data) => Representation::Data,
        (None, Summary::False | Summary::Count) => Representation::Full,
    }
}

/// A resource whose version is a hash of its content.
pub(super) trait Versioned: Clone + Narrated {
    fn meta(&mut self) -> &mut Meta;
}

impl Versioned for Patient {
    fn meta(&mut self) -> &mut Meta {
        &mut self.meta
    }
}

impl Versioned for Endpoint {
    fn meta(&mut self) -> &mut Meta {
        &mut self.meta
    }
}

pub(super) fn encode<R: Versioned>(
    resource: &R,
    representation: &Representation,
) -> Result<EncodedResource, Failure> {
    let mut resource = resource.clone();
    let last_updated = resource.meta().last_updated.take();
    let content = serde_json::to_vec(&resource).map_err(|_| Failure::internal())?;
    let id = VersionId::of_content(&content);
    resource.meta().version_id = Some(id.to_string());
    resource.meta().last_updated.clone_from(&last_updated);
    let json = match representation {
        Representation::Full => project(&resource, Projection::Full),
        Representation::Data => project(&resource, Projection::Data),
        Representation::Summary => project(&resource, Projection::Summary),
        Representation::Text => project(&resource, Projection::Text),
        Representation::Elements(names) => {
            let names: Vec<_> = names.iter().map(AsRef::as_ref).collect();
            project(&resource, Projection::Elements(&names))
        }
    };
    let last_updated = last_updated.and_then(|instant| instant.parse().ok());
    json.map(|json| EncodedResource::of_version(json, id, last_updated)).map_err(|_| Failure::internal())
}

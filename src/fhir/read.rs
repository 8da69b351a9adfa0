//! Reads (R4 http#read, http#vread). Each resource has a version id that changes with its content. The `meta.lastUpdated` of a Patient
//! that is read is the time at which a study of the patient was last seen to change, because archives describe patients only in their
//! studies. A Patient in a Bundle of a search has none: an included Patient is described by one study, and no search compares the time.

use super::FhirRequest;
use super::endpoints::build_endpoint;
use crate::auth::Access;
use crate::change_log::VersionId;
use crate::encoded_resource::EncodedResource;
use crate::error::Failure;
use crate::fhir::FhirContext;
use crate::studies::ReadOutcome;
use crate::studies::Representation;
use crate::upstream::ArchiveId;
use dicom_model::UidRule;
use fhir_r4::search::{ResourceType, ResultParameters, Summary};
use fhir_r4::types::{ElementSubset, Endpoint, HasNarrative, Meta, Patient, project};

/// Returns the current version of the resource `id`.
pub(super) async fn read_resource(
    context: &FhirContext,
    kind: ResourceType,
    id: &str,
    request: &FhirRequest<'_>,
    access: &Access,
) -> Result<EncodedResource, Failure> {
    match kind {
        ResourceType::ImagingStudy => read_study(context, id, request, access).await,
        ResourceType::Patient => read_patient(context, id, request, access).await,
        ResourceType::Endpoint => read_endpoint(context, id, request),
    }
}

/// Returns `current` if `version` is its version id. Earlier versions are not stored.
pub(super) fn require_version(current: EncodedResource, version: &str) -> Result<EncodedResource, Failure> {
    if current.etag == format!("W/\"{version}\"") {
        return Ok(current);
    }
    Err(Failure::not_found(
        "Version not found. This server has only the current version; read the resource without _history.",
    ))
}

async fn read_study(
    context: &FhirContext,
    id: &str,
    request: &FhirRequest<'_>,
    access: &Access,
) -> Result<EncodedResource, Failure> {
    let representation = parse_representation(request)?;
    let not_found = || Failure::not_found(study_not_found(id, context.studies.uid_rule()));
    let uid = context.studies.parse_study_id(id).ok_or_else(not_found)?;
    if let Some(study) = context.studies.cached_study(&uid, &representation, access, request.freshness()) {
        return Ok(context.studies.reuse_cached(&study, false));
    }
    match context.studies.read(&uid, &representation, access, request.freshness()).await? {
        ReadOutcome::Found(study) => Ok(study.encoded.clone()),
        ReadOutcome::Partial(study, missing) => Ok(study.encoded.without_archives(missing.into_keys())),
        ReadOutcome::Unconfirmed(study) => Ok(context.studies.reuse_cached(&study, true)),
        ReadOutcome::Gone => Err(Failure::gone("This study was deleted: no archive holds it any more.")),
        ReadOutcome::NotFound => Err(not_found()),
    }
}

/// Explains why there is no study with `id`, if `rule` is the most lenient rule of the archives.
fn study_not_found(id: &str, rule: UidRule) -> &'static str {
    match (UidRule::of(id), rule) {
        (Some(UidRule::Strict), _) => "No archive holds this study.",
        (Some(UidRule::Lenient), UidRule::Strict) => {
            "This id is not a DICOM UID (PS3.5 9.1), so no archive was searched for it. If an archive has studies with such UIDs, set \
             lenient_uids = true for this archive in the configuration of the gateway."
        }
        (Some(UidRule::Lenient), UidRule::Lenient) => {
            "This id is not a DICOM UID (PS3.5 9.1), and no archive with lenient_uids = true holds a study with it. Other archives were \
             not searched for it."
        }
        (None, _) => "This id is not a DICOM UID (PS3.5 9.1), and no study can have it.",
    }
}

/// Explains why there is no patient with `id`.
pub(super) fn patient_not_found(context: &FhirContext, id: &str) -> Failure {
    Failure::not_found(match context.studies.current_patient_id(id) {
        Some(_) => "No archive holds a study of this patient.",
        None => {
            "This Patient id was not made with the keys of this gateway (fhir.keys), so it is the id of no patient, and no archive was \
             searched for it. To search by PatientID, use ImagingStudy?patient.identifier or Patient?identifier."
        }
    })
}

async fn read_patient(
    context: &FhirContext,
    id: &str,
    request: &FhirRequest<'_>,
    access: &Access,
) -> Result<EncodedResource, Failure> {
    let representation = parse_representation(request)?;
    let found = context.studies.read_patient(id, access, request.freshness()).await?;
    let (mut patient, version) = found.ok_or_else(|| patient_not_found(context, id))?;
    patient.resource.meta.last_updated = version.map(|version| version.instant());
    let mut encoded = encode(&patient.resource, &representation)?;
    if version.and_then(|version| version.date()).is_none() {
        encoded.last_modified = None;
    }
    let missing = context.studies.missing_archives().into_iter().map(|(archive, _)| archive);
    Ok(encoded.without_archives(missing))
}

fn read_endpoint(
    context: &FhirContext,
    id: &str,
    request: &FhirRequest<'_>,
) -> Result<EncodedResource, Failure> {
    let representation = parse_representation(request)?;
    let source = ArchiveId::parse(id).ok().and_then(|id| context.studies.source(&id));
    let source = source.ok_or_else(Failure::unknown_archive)?;
    encode(&build_endpoint(source, request), &representation)
}

/// Returns the representation that the parameters of a read select.
fn parse_representation(request: &FhirRequest<'_>) -> Result<Representation, Failure> {
    let result = request.parse_read_parameters()?;
    if result.summary == Summary::Count {
        return Err(Failure::bad_request(
            "value",
            "Parameter _summary: count applies to searches only, not to a read.",
        )
        .with_expression("http._summary"));
    }
    Ok(requested_representation(&result))
}

/// Returns the requested representation, which contains all or some elements of a resource.
pub(super) fn requested_representation(result: &ResultParameters) -> Representation {
    match (&result.elements, result.summary) {
        (Some(names), _) => Representation::Elements(names.iter().map(|name| name.as_str().into()).collect()),
        (None, Summary::True) => Representation::Summary,
        (None, Summary::Text) => Representation::Text,
        (None, Summary::Data) => Representation::Data,
        (None, Summary::False | Summary::Count) => Representation::Full,
    }
}

/// A resource whose version is a hash of its content.
pub(super) trait HasVersion: Clone + HasNarrative {
    /// Returns the metadata of the resource.
    fn meta_mut(&mut self) -> &mut Meta;
}

impl HasVersion for Patient {
    fn meta_mut(&mut self) -> &mut Meta {
        &mut self.meta
    }
}

impl HasVersion for Endpoint {
    fn meta_mut(&mut self) -> &mut Meta {
        &mut self.meta
    }
}

/// Encodes a resource in `representation`. The version id depends on the whole content, but not on `meta`.
pub(super) fn encode<R: HasVersion>(
    resource: &R,
    representation: &Representation,
) -> Result<EncodedResource, Failure> {
    let mut resource = resource.clone();
    let last_updated = resource.meta_mut().last_updated.take();
    let content = serde_json::to_vec(&resource).map_err(|_| Failure::internal())?;
    let id = VersionId::of_content(&content);
    resource.meta_mut().version_id = Some(id.to_string());
    resource.meta_mut().last_updated.clone_from(&last_updated);
    let json = match representation {
        Representation::Full => project(&resource, ElementSubset::Full),
        Representation::Data => project(&resource, ElementSubset::Data),
        Representation::Summary => project(&resource, ElementSubset::Summary),
        Representation::Text => project(&resource, ElementSubset::Text),
        Representation::Elements(names) => {
            let names: Vec<_> = names.iter().map(AsRef::as_ref).collect();
            project(&resource, ElementSubset::Elements(&names))
        }
    };
    let last_updated = last_updated.and_then(|instant| instant.parse().ok());
    json.map(|json| EncodedResource::of_version(json, id, last_updated)).map_err(|_| Failure::internal())
}

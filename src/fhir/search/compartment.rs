//! The compartment of a Patient (R4 compartmentdefinition-patient): the Patient, and every ImagingStudy that refers to it by
//! `patient`.

use crate::auth::Access;
use crate::error::Failure;
use crate::fhir::FhirContext;
use crate::fhir::FhirRequest;
use crate::fhir::read::patient_not_found;
use crate::studies::FoundPatient;

/// Returns the path of a search for `target`, which is a resource type or `*`, in the compartment of `patient` if there is one.
pub(super) fn search_path(patient: Option<&str>, target: &str) -> String {
    patient.map_or_else(|| target.to_owned(), |id| format!("Patient/{id}/{target}"))
}

/// Finds the Patient whose compartment is searched. If the Patient is unknown, the search fails instead of
/// returning no matches.
pub(super) async fn find_patient(
    context: &FhirContext,
    request: &FhirRequest<'_>,
    access: &Access,
    id: &str,
) -> Result<FoundPatient, Failure> {
    let patient = context.studies.find_patient(id, access, request.freshness()).await?;
    patient.ok_or_else(|| patient_not_found(context, id))
}

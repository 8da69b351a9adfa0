//! The compartment of a Patient (R4 compartmentdefinition-patient): the Patient, and every ImagingStudy that refers to it by
//! `patient`.

use crate::auth::Access;
use crate::error::Failure;
use crate::fhir::FhirContext;
use crate::fhir::FhirRequest;
use crate::studies::FoundPatient;

/// The path of a search for `what`, in the compartment of `patient` or without one.
pub(super) fn path(patient: Option<&str>, what: &str) -> String {
    patient.map_or_else(|| what.to_owned(), |id| format!("Patient/{id}/{what}"))
}

/// The Patient whose compartment is searched. The compartment of an unknown Patient is an error, not an empty result.
pub(super) async fn focus(
    context: &FhirContext,
    request: &FhirRequest<'_>,
    access: &Access,
    id: &str,
) -> Result<FoundPatient, Failure> {
    let found = context.studies.find_patient(id, access, request.freshness()).await?;
    found.ok_or_else(|| Failure::not_found("No archive holds a study of this patient."))
}

//! ImagingStudy (R4 imagingstudy.html).

use super::people::person_references;
use super::profiles::{Guide, profiles_of};
use super::record::{SeriesRecord, count};
use super::series::map_series;
use super::{
    MappingContext, PatientKey, coding, dates, identifiers, location, names, notes, patient, procedure,
};
use dicom_model::{Attributes, tags};
use fhir_r4::types::{CodeableConcept, Coding, ImagingStudy, Reference, to_fhir_string};

/// Maps the row of a study and, if requested, its series. `endpoints` are the ids of the archives that contain the study.
pub fn imaging_study(
    context: &MappingContext,
    row: &Attributes,
    endpoints: &[&str],
    series: Option<Vec<SeriesRecord>>,
) -> ImagingStudy {
    let series_count = series.as_ref().map(Vec::len);
    let series = series.unwrap_or_default();
    let instance_count = (series_count.is_some() && series.iter().all(|series| series.instances.is_some()))
        .then(|| series.iter().filter_map(|series| series.instances.as_ref()).map(Vec::len).sum());
    let mut study = ImagingStudy {
        id: row.text(tags::STUDY_INSTANCE_UID).unwrap_or_default().to_owned(),
        identifier: identifiers::study_identifiers(context, row),
        status: status(row).into(),
        modality: modalities(context, row, &series),
        subject: subject(context, row),
        encounter: identifiers::encounter_reference(context, row),
        started: dates::date_time(context, row, row, (tags::STUDY_DATE, tags::STUDY_TIME)),
        based_on: identifiers::order_references(context, row, series.iter().map(|series| &series.attributes)),
        referrer: person_references(
            row,
            tags::REFERRING_PHYSICIAN_NAME,
            tags::REFERRING_PHYSICIAN_IDENTIFICATION_SEQUENCE,
        )
        .into_iter()
        .next(),
        interpreter: person_references(
            row,
            tags::NAME_OF_PHYSICIANS_READING_STUDY,
            tags::PHYSICIANS_READING_STUDY_IDENTIFICATION_SEQUENCE,
        ),
        endpoint: endpoints.iter().map(|id| reference("Endpoint", id)).collect(),
        number_of_series: count(row, tags::NUMBER_OF_STUDY_RELATED_SERIES, series_count),
        number_of_instances: count(row, tags::NUMBER_OF_STUDY_RELATED_INSTANCES, instance_count),
        procedure_reference: procedure::procedure_reference(&series),
        procedure_code: row.items(tags::PROCEDURE_CODE_SEQUENCE).filter_map(coding::concept).collect(),
        location: location::location(row, &series),
        reason_code: reasons(row, &series),
        note: notes::notes(context, row, &series),
        description: row.text(tags::STUDY_DESCRIPTION).and_then(to_fhir_string),
        series: series.into_iter().map(|source| map_series(context, row, source)).collect(),
        ..ImagingStudy::default()
    };
    complete(context, &mut study);
    study
}

/// Sets the elements that depend on the other elements: the profiles that the resource conforms to, and its narrative.
pub(super) fn complete(context: &MappingContext, study: &mut ImagingStudy) {
    study.meta.profile = profiles_of(&context.guides, study);
    study.text = context.narrative_of(study);
}

/// Maps the availability to R4 imagingstudy-status. A study that cannot be retrieved now may be canceled, lost or on tape, so
/// its status is unknown.
fn status(row: &Attributes) -> &'static str {
    match row.text(tags::INSTANCE_AVAILABILITY).map(str::to_ascii_uppercase).as_deref() {
        Some("OFFLINE" | "UNAVAILABLE") => "unknown",
        _ => "available",
    }
}

/// Maps the modalities in the row, else those of the series. If an enabled guide requires a modality and none is known, adds an
/// unknown one.
fn modalities(context: &MappingContext, row: &Attributes, series: &[SeriesRecord]) -> Vec<Coding> {
    let mut modalities: Vec<Coding> = Vec::new();
    let texts: Vec<_> = if row.text(tags::MODALITIES_IN_STUDY).is_some() {
        row.texts(tags::MODALITIES_IN_STUDY).collect()
    } else {
        series.iter().filter_map(|series| series.attributes.text(tags::MODALITY)).collect()
    };
    for modality in texts.into_iter().filter_map(coding::modality) {
        if !modalities.contains(&modality) {
            modalities.push(modality);
        }
    }
    let requires_modality = context.follows(Guide::SmartImagingAccess) || context.follows(Guide::IheImr);
    if modalities.is_empty() && requires_modality {
        modalities.push(Coding::unknown());
    }
    modalities
}

fn subject(context: &MappingContext, row: &Attributes) -> Reference {
    Reference {
        identifier: patient::primary_identifier(context, row),
        display: row.name(tags::PATIENT_NAME).and_then(names::display),
        ..reference("Patient", &PatientKey::from_row(context, row).id(&context.patient_ids))
    }
}

fn reference(kind: &'static str, id: &str) -> Reference {
    Reference { reference: Some(format!("{kind}/{id}")), kind: Some(kind.into()), ..Reference::default() }
}

/// Maps the reasons in the row and in the requests that the study or one of its series refers to, without duplicates.
fn reasons(row: &Attributes, series: &[SeriesRecord]) -> Vec<CodeableConcept> {
    let levels = std::iter::once(row).chain(series.iter().map(|series| &series.attributes));
    let requests = levels.flat_map(|attributes| attributes.items(tags::REQUEST_ATTRIBUTES_SEQUENCE));
    let mut reasons: Vec<CodeableConcept> = Vec::new();
    for attributes in std::iter::once(row).chain(requests) {
        let codes =
            attributes.items(tags::REASON_FOR_REQUESTED_PROCEDURE_CODE_SEQUENCE).filter_map(coding::concept);
        let text = attributes.text(tags::REASON_FOR_THE_REQUESTED_PROCEDURE).and_then(to_fhir_string);
        let text = text.map(|text| CodeableConcept { text: Some(text.into()), ..CodeableConcept::default() });
        for reason in codes.chain(text) {
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
    }
    reasons
}

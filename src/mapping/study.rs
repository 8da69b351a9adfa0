//! ImagingStudy (R4 imagingstudy.html).

use super::profiles::{Guide, profiles_of};
use super::series::{map_series, number};
use super::{InstanceFacts, MappingContext, PatientKey, coding, dates, identifiers, names, patient};
use crate::dicom::{Attributes, SeriesUid, Tag, tags};
use crate::fhir::types::{CodeableConcept, Coding, ImagingStudy, Reference, clean};

/// The study-level attributes that a search asks for beyond what every archive returns.
pub fn study_tags() -> &'static [Tag] {
    &[
        tags::MODALITIES_IN_STUDY,
        tags::NUMBER_OF_STUDY_RELATED_SERIES,
        tags::NUMBER_OF_STUDY_RELATED_INSTANCES,
        tags::INSTANCE_AVAILABILITY,
        tags::TIMEZONE_OFFSET_FROM_UTC,
        tags::STUDY_DESCRIPTION,
        tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE,
        tags::REFERENCED_REQUEST_SEQUENCE,
        tags::REFERRING_PHYSICIAN_IDENTIFICATION_SEQUENCE,
        tags::NAME_OF_PHYSICIANS_READING_STUDY,
        tags::PHYSICIANS_READING_STUDY_IDENTIFICATION_SEQUENCE,
        tags::PROCEDURE_CODE_SEQUENCE,
        tags::REASON_FOR_THE_REQUESTED_PROCEDURE,
        tags::REASON_FOR_REQUESTED_PROCEDURE_CODE_SEQUENCE,
        tags::ADMISSION_ID,
        tags::ISSUER_OF_ADMISSION_ID_SEQUENCE,
    ]
}

/// The study-level attributes that an object tells as well as the archive's database, or better: some databases forget the
/// character set, and most know no sequences. Who the patient is, and what the archive counts, is for the row to say.
const TOLD_BY_OBJECTS: [Tag; 18] = [
    tags::STUDY_DATE,
    tags::STUDY_TIME,
    tags::STUDY_ID,
    tags::ACCESSION_NUMBER,
    tags::REFERRING_PHYSICIAN_NAME,
    tags::TIMEZONE_OFFSET_FROM_UTC,
    tags::STUDY_DESCRIPTION,
    tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE,
    tags::REFERENCED_REQUEST_SEQUENCE,
    tags::REFERRING_PHYSICIAN_IDENTIFICATION_SEQUENCE,
    tags::NAME_OF_PHYSICIANS_READING_STUDY,
    tags::PHYSICIANS_READING_STUDY_IDENTIFICATION_SEQUENCE,
    tags::PROCEDURE_CODE_SEQUENCE,
    tags::REASON_FOR_THE_REQUESTED_PROCEDURE,
    tags::REASON_FOR_REQUESTED_PROCEDURE_CODE_SEQUENCE,
    tags::ADMISSION_ID,
    tags::ISSUER_OF_ADMISSION_ID_SEQUENCE,
    tags::REQUEST_ATTRIBUTES_SEQUENCE,
];

/// Completes a study's row with what the metadata of one of its objects tell.
pub fn overlay_study(row: &mut Attributes, object: &Attributes) {
    overlay(row, object, &TOLD_BY_OBJECTS);
}

pub(super) fn overlay(row: &mut Attributes, object: &Attributes, told: &[Tag]) {
    for tag in told {
        if let Some(element) = object.get(*tag).filter(|element| !element.values.is_empty()) {
            row.insert(*tag, element.clone());
        }
    }
}

/// One series as an archive describes it.
#[derive(Debug, Clone)]
pub struct SeriesSource {
    /// SeriesInstanceUID (0020,000E).
    pub uid: SeriesUid,
    /// Series-level attributes.
    pub attributes: Attributes,
    /// The instances, when they were asked for.
    pub instances: Option<Vec<InstanceFacts>>,
}

/// The ImagingStudy of a row and, when they were asked for, its series. `endpoints` are ids of the archives that hold it.
pub fn imaging_study(
    context: &MappingContext,
    row: &Attributes,
    endpoints: &[&str],
    series: Option<Vec<SeriesSource>>,
) -> ImagingStudy {
    let known_series = series.as_ref().map(Vec::len);
    let series = series.unwrap_or_default();
    let known_instances = (known_series.is_some() && series.iter().all(|series| series.instances.is_some()))
        .then(|| series.iter().filter_map(|series| series.instances.as_ref()).map(Vec::len).sum());
    let mut study = ImagingStudy {
        id: row.text(tags::STUDY_INSTANCE_UID).unwrap_or_default().to_owned(),
        identifier: identifiers::of_study(context, row),
        status: status(row).into(),
        modality: modalities(context, row, &series),
        subject: subject(context, row),
        encounter: identifiers::of_visit(context, row),
        started: dates::date_time(context, row, row, (tags::STUDY_DATE, tags::STUDY_TIME)),
        based_on: identifiers::of_orders(context, row, series.iter().map(|series| &series.attributes)),
        referrer: person(
            row,
            tags::REFERRING_PHYSICIAN_NAME,
            tags::REFERRING_PHYSICIAN_IDENTIFICATION_SEQUENCE,
        )
        .into_iter()
        .next(),
        interpreter: person(
            row,
            tags::NAME_OF_PHYSICIANS_READING_STUDY,
            tags::PHYSICIANS_READING_STUDY_IDENTIFICATION_SEQUENCE,
        ),
        endpoint: endpoints.iter().map(|id| reference("Endpoint", id)).collect(),
        number_of_series: count(row, tags::NUMBER_OF_STUDY_RELATED_SERIES, known_series),
        number_of_instances: count(row, tags::NUMBER_OF_STUDY_RELATED_INSTANCES, known_instances),
        procedure_code: row.items(tags::PROCEDURE_CODE_SEQUENCE).filter_map(coding::concept).collect(),
        reason_code: reasons(row, &series),
        description: row.text(tags::STUDY_DESCRIPTION).and_then(clean),
        series: series.into_iter().map(|source| map_series(context, row, source)).collect(),
        ..ImagingStudy::default()
    };
    study.meta.profile = profiles_of(&context.guides, &study);
    study.text = context.told(&study);
    study
}

/// R4 imagingstudy-status: what cannot be retrieved now may be cancelled, lost or on a tape; nobody knows.
fn status(row: &Attributes) -> &'static str {
    match row.text(tags::INSTANCE_AVAILABILITY).map(str::to_ascii_uppercase).as_deref() {
        Some("OFFLINE" | "UNAVAILABLE") => "unknown",
        _ => "available",
    }
}

/// What the archive sums up, else what its series have. Some guides want one at least: then it is said, too, that nobody knows.
fn modalities(context: &MappingContext, row: &Attributes, series: &[SeriesSource]) -> Vec<Coding> {
    let mut modalities: Vec<Coding> = Vec::new();
    let summed_up = row.texts(tags::MODALITIES_IN_STUDY);
    let of_series = series.iter().filter_map(|series| series.attributes.text(tags::MODALITY));
    let texts: Vec<_> =
        if row.text(tags::MODALITIES_IN_STUDY).is_some() { summed_up.collect() } else { of_series.collect() };
    for modality in texts.into_iter().filter_map(coding::modality) {
        if !modalities.contains(&modality) {
            modalities.push(modality);
        }
    }
    let wants_one = context.follows(Guide::SmartImagingAccess) || context.follows(Guide::IheImr);
    if modalities.is_empty() && wants_one {
        modalities.push(Coding::unknown());
    }
    modalities
}

fn subject(context: &MappingContext, row: &Attributes) -> Reference {
    Reference {
        identifier: patient::own_identifier(context, row),
        display: row.name(tags::PATIENT_NAME).and_then(names::display),
        ..reference("Patient", &PatientKey::of(context, row).id())
    }
}

fn reference(kind: &'static str, id: &str) -> Reference {
    Reference { reference: Some(format!("{kind}/{id}")), kind: Some(kind.into()), ..Reference::default() }
}

/// The people under a name element, each with the identification that stands at the same place (PS3.3 10.1). Where there
/// are more of one than of the other, nobody can tell which belong together.
pub(super) fn person(row: &Attributes, name: Tag, identification: Tag) -> Vec<Reference> {
    let displays: Vec<_> = row.names(name).map(names::display).collect();
    let identifiers: Vec<_> = row.items(identification).map(coding::person_identifier).collect();
    let pairs: Vec<_> = match (displays.len(), identifiers.len()) {
        (0, _) => identifiers.into_iter().map(|identifier| (None, identifier)).collect(),
        (names, identifications) if names == identifications => {
            displays.into_iter().zip(identifiers).collect()
        }
        _ => displays.into_iter().map(|display| (display, None)).collect(),
    };
    let said = pairs.into_iter().filter(|(display, identifier)| display.is_some() || identifier.is_some());
    said.map(|(display, identifier)| Reference { identifier, display, ..Reference::default() }).collect()
}

/// As the archive counts; what it does not count, or counts short, is counted here, if all of it is known.
pub(super) fn count(row: &Attributes, tag: Tag, known: Option<usize>) -> Option<u32> {
    let known = known.and_then(|count| u32::try_from(count).ok());
    number(row, tag).max(known)
}

/// Why the study was made: of the study itself, and of the requests that its series name.
fn reasons(row: &Attributes, series: &[SeriesSource]) -> Vec<CodeableConcept> {
    let levels = std::iter::once(row).chain(series.iter().map(|series| &series.attributes));
    let requests = levels.flat_map(|attributes| attributes.items(tags::REQUEST_ATTRIBUTES_SEQUENCE));
    let mut reasons: Vec<CodeableConcept> = Vec::new();
    for place in std::iter::once(row).chain(requests) {
        let coded =
            place.items(tags::REASON_FOR_REQUESTED_PROCEDURE_CODE_SEQUENCE).filter_map(coding::concept);
        let words = place.text(tags::REASON_FOR_THE_REQUESTED_PROCEDURE).and_then(clean);
        let words =
            words.map(|text| CodeableConcept { text: Some(text.into()), ..CodeableConcept::default() });
        for reason in coded.chain(words) {
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
    }
    reasons
}

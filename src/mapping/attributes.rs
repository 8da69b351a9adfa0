//! The attributes that the mapping reads at each level: those that a search requests with `includefield` (PS3.18 8.3.4.3), and
//! those that are more reliable in an object's metadata than in a row. `docs/mapping.md` names the element that each attribute
//! is mapped to.
//!
//! Comments are requested only if `[fhir] notes` is on, because they may contain any text.

use super::MappingContext;
use super::record::{agree, complete, overlay};
use dicom_model::{Attributes, Tag, tags};

#[expect(deprecated, reason = "retired in DICOM, but archives still return it")]
pub(super) const STUDY_COMMENTS: Tag = tags::STUDY_COMMENTS;

/// Returns the study-level attributes that a search requests in addition to those that every archive returns.
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
        tags::INSTITUTION_NAME,
        tags::INSTITUTIONAL_DEPARTMENT_NAME,
        tags::CURRENT_PATIENT_LOCATION,
    ]
}

/// Returns the attribute with comments on a study, if comments are included in resources.
pub fn study_note_tags(context: &MappingContext) -> &'static [Tag] {
    if context.notes { &[STUDY_COMMENTS] } else { &[] }
}

/// Returns the patient-level attributes that a search requests (PS3.4 table C.6-1 and others that the mapping reads).
pub fn patient_tags() -> &'static [Tag] {
    &[
        tags::ISSUER_OF_PATIENT_ID,
        tags::ISSUER_OF_PATIENT_ID_QUALIFIERS_SEQUENCE,
        tags::OTHER_PATIENT_I_DS_SEQUENCE,
    ]
}

/// Returns the series-level attributes that a search requests in addition to those that every archive returns.
pub fn series_tags() -> &'static [Tag] {
    &SERIES_ATTRIBUTES_FROM_INSTANCES
}

/// Returns the attribute with comments on a series, if comments are included in resources.
pub fn series_note_tags(context: &MappingContext) -> &'static [Tag] {
    if context.notes { &SERIES_NOTES } else { &[] }
}

/// Returns the instance-level attributes that a search requests in addition to those that every archive returns.
pub fn instance_tags() -> &'static [Tag] {
    &[
        tags::IMAGE_TYPE,
        tags::IMAGE_LATERALITY,
        tags::CONCEPT_NAME_CODE_SEQUENCE,
        tags::CONTENT_LABEL,
        tags::DOCUMENT_TITLE,
        tags::SPECIMEN_DESCRIPTION_SEQUENCE,
    ]
}

/// The study-level attributes that an object has and a row may lack, because most databases store no sequences. The patient and
/// the counts are read from the row.
const STUDY_ATTRIBUTES_FROM_INSTANCES: [Tag; 13] = [
    tags::STUDY_DATE,
    tags::STUDY_ID,
    tags::ACCESSION_NUMBER,
    tags::REFERRING_PHYSICIAN_NAME,
    tags::TIMEZONE_OFFSET_FROM_UTC,
    tags::STUDY_DESCRIPTION,
    tags::NAME_OF_PHYSICIANS_READING_STUDY,
    tags::PROCEDURE_CODE_SEQUENCE,
    tags::ADMISSION_ID,
    tags::INSTITUTION_NAME,
    tags::INSTITUTIONAL_DEPARTMENT_NAME,
    tags::CURRENT_PATIENT_LOCATION,
    STUDY_COMMENTS,
];

/// The study-level attributes that describe another one, with that attribute. If its value was corrected in the row, they describe the
/// old value.
const STUDY_ATTRIBUTES_OF_OTHERS: [(Tag, &[Tag]); 5] = [
    (tags::STUDY_DATE, &[tags::STUDY_TIME]),
    (
        tags::ACCESSION_NUMBER,
        &[
            tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE,
            tags::REFERENCED_REQUEST_SEQUENCE,
            tags::REQUEST_ATTRIBUTES_SEQUENCE,
            tags::REASON_FOR_THE_REQUESTED_PROCEDURE,
            tags::REASON_FOR_REQUESTED_PROCEDURE_CODE_SEQUENCE,
        ],
    ),
    (tags::REFERRING_PHYSICIAN_NAME, &[tags::REFERRING_PHYSICIAN_IDENTIFICATION_SEQUENCE]),
    (tags::NAME_OF_PHYSICIANS_READING_STUDY, &[tags::PHYSICIANS_READING_STUDY_IDENTIFICATION_SEQUENCE]),
    (tags::ADMISSION_ID, &[tags::ISSUER_OF_ADMISSION_ID_SEQUENCE]),
];

/// The series-level attributes that are at least as reliable in an object as in the database of the archive.
const SERIES_ATTRIBUTES_FROM_INSTANCES: [Tag; 26] = [
    tags::MODALITY,
    tags::SERIES_NUMBER,
    tags::SERIES_DESCRIPTION,
    tags::SERIES_DATE,
    tags::SERIES_TIME,
    tags::TIMEZONE_OFFSET_FROM_UTC,
    tags::PERFORMED_PROCEDURE_STEP_START_DATE,
    tags::PERFORMED_PROCEDURE_STEP_START_TIME,
    tags::PERFORMED_PROCEDURE_STEP_DESCRIPTION,
    tags::REFERENCED_PERFORMED_PROCEDURE_STEP_SEQUENCE,
    tags::BODY_PART_EXAMINED,
    tags::ANATOMIC_REGION_SEQUENCE,
    tags::LATERALITY,
    tags::IMAGE_LATERALITY,
    tags::PERFORMING_PHYSICIAN_NAME,
    tags::PERFORMING_PHYSICIAN_IDENTIFICATION_SEQUENCE,
    tags::OPERATORS_NAME,
    tags::OPERATOR_IDENTIFICATION_SEQUENCE,
    tags::REQUEST_ATTRIBUTES_SEQUENCE,
    tags::REFERENCED_REQUEST_SEQUENCE,
    tags::MANUFACTURER,
    tags::MANUFACTURER_MODEL_NAME,
    tags::DEVICE_SERIAL_NUMBER,
    tags::STATION_NAME,
    tags::INSTITUTION_NAME,
    tags::INSTITUTIONAL_DEPARTMENT_NAME,
];

/// The attributes of an object that contain comments on its series.
const SERIES_NOTES: [Tag; 1] = [tags::COMMENTS_ON_THE_PERFORMED_PROCEDURE_STEP];

/// Completes the row of a study with the metadata of one of its objects. What the row contains remains, unless the archive has lost
/// characters of it: archives search by it, and correct it without changing their objects.
pub fn complete_study(row: &mut Attributes, object: &Attributes) {
    complete(row, object, &STUDY_ATTRIBUTES_FROM_INSTANCES);
    for (described, tags) in STUDY_ATTRIBUTES_OF_OTHERS {
        if agree(row, object, described) {
            complete(row, object, tags);
        }
    }
    if row.has_lost_characters_of(object, tags::PATIENT_NAME) {
        overlay(row, object, &[tags::PATIENT_NAME]);
    }
}

/// Completes the row of a series with the metadata of one of its objects.
pub fn overlay_series(row: &mut Attributes, object: &Attributes) {
    overlay(row, object, &SERIES_ATTRIBUTES_FROM_INSTANCES);
    overlay(row, object, &SERIES_NOTES);
}

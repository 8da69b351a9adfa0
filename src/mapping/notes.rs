//! Comments (R4 ImagingStudy.note) on the study and on the procedure steps of its series. They may contain any text, so they
//! are included only if `[fhir] notes` is on.

use super::attributes::STUDY_COMMENTS;
use super::{MappingContext, SeriesRecord};
use dicom_model::{Attributes, tags};
use fhir_r4::types::{Annotation, to_fhir_string};

/// Returns the comments without duplicates.
pub(super) fn notes(context: &MappingContext, row: &Attributes, series: &[SeriesRecord]) -> Vec<Annotation> {
    if !context.notes {
        return Vec::new();
    }
    let series_comments = series
        .iter()
        .flat_map(|series| series.attributes.texts(tags::COMMENTS_ON_THE_PERFORMED_PROCEDURE_STEP));
    let mut notes: Vec<Annotation> = Vec::new();
    for text in row.texts(STUDY_COMMENTS).chain(series_comments).filter_map(to_fhir_string) {
        if !notes.iter().any(|note| note.text == text) {
            notes.push(Annotation { text, ..Annotation::default() });
        }
    }
    notes
}

//! The procedure that produced a study (R4 ImagingStudy.procedureReference): a logical reference to the performed procedure step
//! that its series refer to (PS3.3 C.7.3.1).

use super::{SeriesRecord, identifiers};
use dicom_model::tags;
use fhir_r4::types::{Reference, to_fhir_string};

/// Returns the performed procedure step that the series refer to; `None` if they refer to several, because R4 allows only one
/// reference.
pub(super) fn procedure_reference(series: &[SeriesRecord]) -> Option<Reference> {
    let steps = || {
        series.iter().flat_map(|series| {
            let steps = series.attributes.items(tags::REFERENCED_PERFORMED_PROCEDURE_STEP_SEQUENCE);
            steps.filter_map(move |step| Some((series, step.text(tags::REFERENCED_SOP_INSTANCE_UID)?)))
        })
    };
    let (_, uid) = steps().next()?;
    if steps().any(|(_, other)| other != uid) {
        return None;
    }
    let description = |series: &SeriesRecord| {
        series.attributes.text(tags::PERFORMED_PROCEDURE_STEP_DESCRIPTION).and_then(to_fhir_string)
    };
    Some(Reference {
        kind: Some("Procedure".into()),
        identifier: Some(identifiers::uid_identifier(uid)?),
        display: steps().find_map(|(series, _)| description(series)),
        ..Reference::default()
    })
}

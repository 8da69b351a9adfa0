//! The procedure that a study was part of (R4 ImagingStudy.procedureReference): the performed procedure step that its series
//! refer to (PS3.3 C.7.3.1), as a logical reference.

use super::{SeriesSource, identifiers};
use dicom_model::tags;
use fhir_r4::types::{Reference, clean};

/// The performed procedure step, if all series that refer to one refer to the same step. R4 has room for only one.
pub(super) fn performed(series: &[SeriesSource]) -> Option<Reference> {
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
    let described = |series: &SeriesSource| {
        series.attributes.text(tags::PERFORMED_PROCEDURE_STEP_DESCRIPTION).and_then(clean)
    };
    Some(Reference {
        kind: Some("Procedure".into()),
        identifier: Some(identifiers::of_uid(uid)?),
        display: steps().find_map(|(series, _)| described(series)),
        ..Reference::default()
    })
}

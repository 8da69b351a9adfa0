//! Where a study was performed (R4 ImagingStudy.location), as text: DICOM has no identifier that a Location resource could
//! have.

use super::SeriesSource;
use dicom_model::{Attributes, tags};
use fhir_r4::types::{Reference, clean};

/// The department of the equipment, else the patient's location; and the institution.
///
/// The department belongs to the equipment (PS3.3 C.7.5.1), and so to the series: the first series with a department counts,
/// together with the institution in the same series.
pub(super) fn location(row: &Attributes, series: &[SeriesSource]) -> Option<Reference> {
    let text = |attributes: &Attributes, tag| attributes.text(tag).and_then(clean);
    let equipment = || std::iter::once(row).chain(series.iter().map(|series| &series.attributes));
    let in_department = equipment().find_map(|attributes| {
        let department = text(attributes, tags::INSTITUTIONAL_DEPARTMENT_NAME)?;
        Some((Some(department), text(attributes, tags::INSTITUTION_NAME)))
    });
    let (place, institution) = in_department.unwrap_or_else(|| {
        let institution = equipment().find_map(|attributes| text(attributes, tags::INSTITUTION_NAME));
        (text(row, tags::CURRENT_PATIENT_LOCATION), institution)
    });
    let words: Vec<_> = [place, institution].into_iter().flatten().collect();
    (!words.is_empty())
        .then(|| Reference { kind: Some("Location".into()), ..Reference::words(words.join(", ")) })
}

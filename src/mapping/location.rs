//! The place where a study was performed (R4 ImagingStudy.location), as text, because DICOM has no identifier for a Location
//! resource.

use super::SeriesRecord;
use dicom_model::{Attributes, tags};
use fhir_r4::types::{Reference, to_fhir_string};

/// Returns the department of the equipment, else the location of the patient, together with the institution.
///
/// The department is an attribute of the equipment (PS3.3 C.7.5.1), and therefore of the series. The first series with a
/// department is used, together with the institution in the same series.
pub(super) fn location(row: &Attributes, series: &[SeriesRecord]) -> Option<Reference> {
    let text = |attributes: &Attributes, tag| attributes.text(tag).and_then(to_fhir_string);
    let equipment = || std::iter::once(row).chain(series.iter().map(|series| &series.attributes));
    let department = equipment().find_map(|attributes| {
        let department = text(attributes, tags::INSTITUTIONAL_DEPARTMENT_NAME)?;
        Some((Some(department), text(attributes, tags::INSTITUTION_NAME)))
    });
    let (place, institution) = department.unwrap_or_else(|| {
        let institution = equipment().find_map(|attributes| text(attributes, tags::INSTITUTION_NAME));
        (text(row, tags::CURRENT_PATIENT_LOCATION), institution)
    });
    let parts: Vec<_> = [place, institution].into_iter().flatten().collect();
    (!parts.is_empty())
        .then(|| Reference { kind: Some("Location".into()), ..Reference::from_display(parts.join(", ")) })
}

//! People in a study (PS3.3 10.1) as references without a resource: identifier and display name.

use super::{coding, names};
use dicom_model::{Attributes, Tag};
use fhir_r4::types::Reference;

/// The people in a name element, each with the item of the identification sequence at the same position. If their numbers
/// differ, it is unknown which belong together, and only the names are used.
pub(super) fn people(row: &Attributes, name: Tag, identification: Tag) -> Vec<Reference> {
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
    let reference = |(display, identifier)| Reference {
        kind: Some("Practitioner".into()),
        identifier,
        display,
        ..Reference::default()
    };
    said.map(reference).collect()
}

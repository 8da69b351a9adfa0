//! Maps people in a study (PS3.3 10.1) to logical references with identifier and display name.

use super::{coding, names};
use dicom_model::{Attributes, Tag};
use fhir_r4::types::Reference;

/// Returns the people in a name element, each with the item of the identification sequence at the same position. If the numbers
/// of names and items differ, it is unknown which item belongs to which name, and only the names are used.
pub(super) fn person_references(row: &Attributes, name: Tag, identification: Tag) -> Vec<Reference> {
    let displays: Vec<_> = row.names(name).map(names::display).collect();
    let identifiers: Vec<_> = row.items(identification).map(coding::person_identifier).collect();
    let pairs: Vec<_> = match (displays.len(), identifiers.len()) {
        (0, _) => identifiers.into_iter().map(|identifier| (None, identifier)).collect(),
        (names, identifications) if names == identifications => {
            displays.into_iter().zip(identifiers).collect()
        }
        _ => displays.into_iter().map(|display| (display, None)).collect(),
    };
    let people = pairs.into_iter().filter(|(display, identifier)| display.is_some() || identifier.is_some());
    let reference = |(display, identifier)| Reference {
        kind: Some("Practitioner".into()),
        identifier,
        display,
        ..Reference::default()
    };
    people.map(reference).collect()
}

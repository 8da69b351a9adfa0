//! The specimens in a series (PS3.3 C.7.6.22) as logical references (R4 ImagingStudy.series.specimen).
//!
//! Each image describes its specimens, and a series has the specimens of all of its images.

use super::MappingContext;
use super::identifiers::{self, Issuer};
use dicom_model::{Attributes, Element, Tag, Value, tags};
use fhir_r4::types::{Reference, to_fhir_string};

/// The attributes of a specimen that are used. The others are dropped, because the description of the preparation may be long.
const SPECIMEN_TAGS: [Tag; 5] = [
    tags::SPECIMEN_IDENTIFIER,
    tags::ISSUER_OF_THE_SPECIMEN_IDENTIFIER_SEQUENCE,
    tags::SPECIMEN_UID,
    tags::SPECIMEN_SHORT_DESCRIPTION,
    tags::SPECIMEN_TYPE_CODE_SEQUENCE,
];

/// Returns the items of a SpecimenDescriptionSequence (0040,0560), with the attributes that are used.
pub(super) fn specimen_items(sequence: Element) -> Box<[Attributes]> {
    let items = sequence.values.into_iter().filter_map(|value| match value {
        Value::Item(mut item) => {
            item.retain(|tag| SPECIMEN_TAGS.contains(&tag));
            Some(item)
        }
        Value::Text(_) | Value::Name(_) => None,
    });
    items.collect()
}

/// Maps the specimens, without duplicates.
pub(super) fn specimens<'a>(
    context: &MappingContext,
    items: impl Iterator<Item = &'a Attributes>,
) -> Vec<Reference> {
    let mut specimens: Vec<Reference> = Vec::new();
    for specimen in items.filter_map(|item| specimen(context, item)) {
        if !specimens.contains(&specimen) {
            specimens.push(specimen);
        }
    }
    specimens
}

/// Maps one specimen, identified by the identifier of the laboratory, else by the UID in the image.
fn specimen(context: &MappingContext, item: &Attributes) -> Option<Reference> {
    let text = |tag| item.text(tag).and_then(to_fhir_string);
    let laboratory_identifier = || {
        let issuer = item.items(tags::ISSUER_OF_THE_SPECIMEN_IDENTIFIER_SEQUENCE).next();
        let value = text(tags::SPECIMEN_IDENTIFIER)?;
        Some(Issuer::resolve(context, issuer, None, None).identifier(value, None))
    };
    let identifier =
        laboratory_identifier().or_else(|| identifiers::uid_identifier(item.text(tags::SPECIMEN_UID)?));
    let specimen_type = || {
        let mut types = item.items(tags::SPECIMEN_TYPE_CODE_SEQUENCE);
        types.find_map(|code| code.text(tags::CODE_MEANING).and_then(to_fhir_string))
    };
    let display = text(tags::SPECIMEN_SHORT_DESCRIPTION).or_else(specimen_type);
    let is_described = identifier.is_some() || display.is_some();
    is_described.then(|| Reference {
        kind: Some("Specimen".into()),
        identifier,
        display,
        ..Reference::default()
    })
}

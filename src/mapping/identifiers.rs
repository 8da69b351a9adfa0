//! Identifiers and their issuers (PS3.3 10.14 and 10.17, R4 datatypes#Identifier).

use std::borrow::Cow;

use super::profiles::Guide;
use super::{MappingContext, coding};
use dicom_model::{Attributes, Tag, Uid, tags};
use fhir_r4::types::{CodeableConcept, Coding, Identifier, Reference, clean};

/// R4 identifier-type.
const V2_0203: &str = "http://terminology.hl7.org/CodeSystem/v2-0203";

/// A type of identifier as coded by DICOM (PS3.16 annex D); IHE RAD MADO requires it in addition to, or instead of, HL7's own
/// code.
struct DicomType {
    code: &'static str,
    display: &'static str,
}

const STUDY_UID: DicomType = DicomType { code: "110180", display: "Study Instance UID" };
const ACCESSION_NUMBER: DicomType = DicomType { code: "121022", display: "Accession Number" };

impl DicomType {
    fn coding(&self) -> Coding {
        Coding::new(coding::DCM, self.code, Some(Cow::Borrowed(self.display)))
    }
}

/// An identifier's system, or its issuer's local name if nothing else is known.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Issuer {
    pub(super) system: Option<String>,
    pub(super) assigner: Option<String>,
}

impl Issuer {
    /// From the item of an issuer sequence (PS3.3 table 10-17: HL7v2 Hierarchic Designator), else from a local name, else from
    /// the configured default for identifiers without an issuer.
    pub(super) fn of(
        context: &MappingContext,
        designator: Option<&Attributes>,
        local: Option<&str>,
        default: Option<&str>,
    ) -> Self {
        let in_designator = designator.and_then(|item| item.text(tags::LOCAL_NAMESPACE_ENTITY_ID));
        // The name outside the sequence is the one that people use.
        let names: Vec<String> = [local, in_designator].into_iter().flatten().filter_map(clean).collect();
        let universal = designator.and_then(universal_system);
        let known = || names.iter().find_map(|name| context.issuers.get(name).cloned());
        let system = universal.or_else(known);
        // A named but unknown issuer is not the default one.
        let is_named = !names.is_empty() || designator.is_some_and(has_issuer);
        Self {
            system: if is_named { system } else { default.map(str::to_owned) },
            assigner: names.into_iter().next(),
        }
    }

    pub(super) fn identifier(self, value: String, kind: Option<(&'static str, &'static str)>) -> Identifier {
        Identifier {
            kind: kind.map(|(code, display)| {
                CodeableConcept::of(vec![Coding::new(V2_0203, code, Some(Cow::Borrowed(display)))])
            }),
            system: self.system,
            value: Some(value),
            assigner: self.assigner.map(|name| Box::new(Reference::words(name))),
            ..Identifier::default()
        }
    }
}

fn has_issuer(designator: &Attributes) -> bool {
    designator.text(tags::UNIVERSAL_ENTITY_ID).is_some()
}

/// A universal entity id as a URI (PS3.3 table 10-17, HL7 table 0301). A DNS name is not a URI, nor is an EUI-64.
fn universal_system(designator: &Attributes) -> Option<String> {
    let id = designator.text(tags::UNIVERSAL_ENTITY_ID)?;
    match designator.text(tags::UNIVERSAL_ENTITY_ID_TYPE)?.to_ascii_uppercase().as_str() {
        "ISO" => Uid::parse(id).ok().map(|oid| format!("urn:oid:{oid}")),
        "UUID" => is_uuid(id).then(|| format!("urn:uuid:{}", id.to_ascii_lowercase())),
        "URI" => (id.contains(':') && !id.contains(char::is_whitespace)).then(|| id.to_owned()),
        _ => None,
    }
}

fn is_uuid(text: &str) -> bool {
    let lengths = [8, 4, 4, 4, 12];
    let parts: Vec<_> = text.split('-').collect();
    parts.len() == lengths.len()
        && parts
            .iter()
            .zip(lengths)
            .all(|(part, length)| part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// A DICOM UID as an identifier (R4 datatypes#Identifier); `None` if it is not a valid UID.
pub(super) fn of_uid(uid: &str) -> Option<Identifier> {
    let uid = Uid::parse(uid).ok()?;
    Some(Identifier {
        system: Some("urn:dicom:uid".to_owned()),
        value: Some(format!("urn:oid:{uid}")),
        ..Identifier::default()
    })
}

/// The study's identifiers: its UID, its accession number, its Study ID.
pub(super) fn of_study(context: &MappingContext, row: &Attributes) -> Vec<Identifier> {
    let mut identifiers = Vec::with_capacity(3);
    if let Some(uid) = row.text(tags::STUDY_INSTANCE_UID) {
        identifiers.push(Identifier {
            usage: Some("official".into()),
            kind: context.follows(Guide::EuImaging).then(|| CodeableConcept::of(vec![STUDY_UID.coding()])),
            system: Some("urn:dicom:uid".to_owned()),
            value: Some(format!("urn:oid:{uid}")),
            ..Identifier::default()
        });
    }
    identifiers.extend(accession(context, row));
    if let Some(study_id) = row.text(tags::STUDY_ID).and_then(clean) {
        identifiers.push(Identifier {
            usage: Some("secondary".into()),
            value: Some(study_id),
            ..Identifier::default()
        });
    }
    identifiers
}

/// The accession number of a study, or of one of the requests for it.
fn accession(context: &MappingContext, attributes: &Attributes) -> Option<Identifier> {
    let number = attributes.text(tags::ACCESSION_NUMBER).and_then(clean)?;
    let designator = attributes.items(tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE).next();
    let issuer = Issuer::of(context, designator, None, context.accession_system.as_deref());
    let mut identifier = issuer.identifier(number, Some(("ACSN", "Accession ID")));
    if context.follows(Guide::EuImaging)
        && let Some(kind) = &mut identifier.kind
    {
        kind.coding.push(ACCESSION_NUMBER.coding());
    }
    Some(identifier)
}

/// The orders for the study, by their numbers: accession, placer and filler number of the study itself and of each request that
/// the study or one of its series refers to.
pub(super) fn of_orders<'a>(
    context: &MappingContext,
    row: &'a Attributes,
    series: impl Iterator<Item = &'a Attributes>,
) -> Vec<Reference> {
    let mut numbers: Vec<Identifier> = Vec::new();
    let requests = std::iter::once(row).chain(series).flat_map(|attributes| {
        let referenced = attributes.items(tags::REFERENCED_REQUEST_SEQUENCE);
        referenced.chain(attributes.items(tags::REQUEST_ATTRIBUTES_SEQUENCE))
    });
    for place in std::iter::once(row).chain(requests) {
        let found = [
            accession(context, place),
            order_number(context, place, tags::PLACER_ORDER_NUMBER_IMAGING_SERVICE_REQUEST, PLACER),
            order_number(context, place, tags::FILLER_ORDER_NUMBER_IMAGING_SERVICE_REQUEST, FILLER),
        ];
        for number in found.into_iter().flatten() {
            // A request with the study's number but without its issuer is the same order.
            let unissued = place.items(tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE).next().is_none();
            let repeats = |known: &Identifier| {
                known.value == number.value
                    && known.kind == number.kind
                    && (unissued || known.system == number.system)
            };
            if !numbers.iter().any(repeats) {
                numbers.push(number);
            }
        }
    }
    let reference = |identifier| Reference {
        kind: Some("ServiceRequest".into()),
        identifier: Some(identifier),
        ..Reference::default()
    };
    numbers.into_iter().map(reference).collect()
}

type OrderKind = (&'static str, &'static str, Tag);

const PLACER: OrderKind = ("PLAC", "Placer Identifier", tags::ORDER_PLACER_IDENTIFIER_SEQUENCE);
const FILLER: OrderKind = ("FILL", "Filler Identifier", tags::ORDER_FILLER_IDENTIFIER_SEQUENCE);

fn order_number(
    context: &MappingContext,
    request: &Attributes,
    number: Tag,
    (code, display, issuer): OrderKind,
) -> Option<Identifier> {
    let value = request.text(number).and_then(clean)?;
    let issuer = Issuer::of(context, request.items(issuer).next(), None, None);
    Some(issuer.identifier(value, Some((code, display))))
}

/// The encounter, by its admission number.
pub(super) fn of_visit(context: &MappingContext, row: &Attributes) -> Option<Reference> {
    let value = row.text(tags::ADMISSION_ID).and_then(clean)?;
    let issuer = Issuer::of(context, row.items(tags::ISSUER_OF_ADMISSION_ID_SEQUENCE).next(), None, None);
    let identifier = issuer.identifier(value, Some(("VN", "Visit number")));
    Some(Reference { kind: Some("Encounter".into()), identifier: Some(identifier), ..Reference::default() })
}

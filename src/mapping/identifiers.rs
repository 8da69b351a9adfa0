//! Maps identifiers and their issuers (PS3.3 10.14 and 10.17, R4 datatypes#Identifier).

use std::borrow::Cow;

use super::profiles::Guide;
use super::{MappingContext, coding};
use dicom_model::{Attributes, Tag, Uid, UidRule, tags};
use fhir_r4::types::{CodeableConcept, Coding, Identifier, Reference, to_fhir_string};

/// The code system of R4 identifier-type.
const V2_0203: &str = "http://terminology.hl7.org/CodeSystem/v2-0203";

/// A type of identifier as coded by DICOM (PS3.16 annex D). IHE RAD MADO requires it in addition to the code of HL7, or instead
/// of it.
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

/// The issuer of an identifier: its system, if known, and its local name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Issuer {
    pub(super) system: Option<String>,
    pub(super) assigner: Option<String>,
}

impl Issuer {
    /// Determines the issuer from the item of an issuer sequence (PS3.3 table 10-17: HL7v2 Hierarchic Designator), else from a
    /// local name, else from the configured system of identifiers without an issuer.
    pub(super) fn resolve(
        context: &MappingContext,
        designator: Option<&Attributes>,
        local_name: Option<&str>,
        default_system: Option<&str>,
    ) -> Self {
        let namespace = designator.and_then(|item| item.text(tags::LOCAL_NAMESPACE_ENTITY_ID));
        // Users know the name outside the sequence, so it takes precedence.
        let names: Vec<String> =
            [local_name, namespace].into_iter().flatten().filter_map(to_fhir_string).collect();
        let universal = designator.and_then(universal_system);
        let configured = || names.iter().find_map(|name| context.issuers.get(name).cloned());
        let system = universal.or_else(configured);
        // The default does not apply to an identifier whose issuer has a name, even if the name is not configured.
        let has_issuer = !names.is_empty() || designator.is_some_and(has_universal_id);
        Self {
            system: if has_issuer { system } else { default_system.map(str::to_owned) },
            assigner: names.into_iter().next(),
        }
    }

    pub(super) fn identifier(self, value: String, kind: Option<(&'static str, &'static str)>) -> Identifier {
        Identifier {
            kind: kind.map(|(code, display)| {
                CodeableConcept::from_codings(vec![Coding::new(V2_0203, code, Some(Cow::Borrowed(display)))])
            }),
            system: self.system,
            value: Some(value),
            assigner: self.assigner.map(|name| Box::new(Reference::from_display(name))),
            ..Identifier::default()
        }
    }
}

fn has_universal_id(designator: &Attributes) -> bool {
    designator.text(tags::UNIVERSAL_ENTITY_ID).is_some()
}

/// Converts a universal entity id to a URI (PS3.3 table 10-17, HL7 table 0301). A DNS name is not a URI, nor is an EUI-64.
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

/// The system of DICOM UIDs (R4 imagingstudy.html#notes).
pub const DICOM_UID_SYSTEM: &str = "urn:dicom:uid";

/// The prefix of a UID in an identifier. Only a UID of numbers can follow it (RFC 3061).
const OID_PREFIX: &str = "urn:oid:";

/// Returns the value of the identifier of a study: the UID as a URN, or the text as it is if it is not a DICOM UID.
fn value_of_uid(uid: &str) -> String {
    if Uid::is_legal(uid) { format!("{OID_PREFIX}{uid}") } else { uid.to_owned() }
}

/// Returns the UID of the study whose identifier has `value`, the reverse of its mapping; `None` if no study has this identifier.
pub fn uid_of_identifier(value: &str) -> Option<&str> {
    match value.strip_prefix(OID_PREFIX) {
        Some(uid) => Some(uid).filter(|uid| Uid::is_legal(uid)),
        None => Some(value).filter(|value| UidRule::of(value) == Some(UidRule::Lenient)),
    }
}

/// Maps a DICOM UID to an identifier (R4 datatypes#Identifier); `None` if it is not a valid UID.
pub(super) fn uid_identifier(uid: &str) -> Option<Identifier> {
    let uid = Uid::parse(uid).ok()?;
    Some(Identifier {
        system: Some(DICOM_UID_SYSTEM.to_owned()),
        value: Some(value_of_uid(uid.as_str())),
        ..Identifier::default()
    })
}

/// Returns the identifiers of the study: its UID, its accession number, its Study ID.
pub(super) fn study_identifiers(context: &MappingContext, row: &Attributes) -> Vec<Identifier> {
    let mut identifiers = Vec::with_capacity(3);
    if let Some(uid) = row.text(tags::STUDY_INSTANCE_UID) {
        identifiers.push(Identifier {
            usage: Some("official".into()),
            kind: context
                .follows(Guide::EuImaging)
                .then(|| CodeableConcept::from_codings(vec![STUDY_UID.coding()])),
            system: Some(DICOM_UID_SYSTEM.to_owned()),
            value: Some(value_of_uid(uid)),
            ..Identifier::default()
        });
    }
    identifiers.extend(accession_number(context, row));
    if let Some(study_id) = row.text(tags::STUDY_ID).and_then(to_fhir_string) {
        identifiers.push(Identifier {
            usage: Some("secondary".into()),
            value: Some(study_id),
            ..Identifier::default()
        });
    }
    identifiers
}

/// Returns the accession number in the attributes of a study or of a request.
fn accession_number(context: &MappingContext, attributes: &Attributes) -> Option<Identifier> {
    let number = attributes.text(tags::ACCESSION_NUMBER).and_then(to_fhir_string)?;
    let designator = attributes.items(tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE).next();
    let issuer = Issuer::resolve(context, designator, None, context.accession_system.as_deref());
    let mut identifier = issuer.identifier(number, Some(("ACSN", "Accession ID")));
    if context.follows(Guide::EuImaging)
        && let Some(kind) = &mut identifier.kind
    {
        kind.coding.push(ACCESSION_NUMBER.coding());
    }
    Some(identifier)
}

/// Returns references to the orders for the study, by accession, placer and filler number. The numbers are those of the study,
/// and those of each request that the study or one of its series refers to.
pub(super) fn order_references<'a>(
    context: &MappingContext,
    row: &'a Attributes,
    series: impl Iterator<Item = &'a Attributes>,
) -> Vec<Reference> {
    let mut numbers: Vec<Identifier> = Vec::new();
    let requests = std::iter::once(row).chain(series).flat_map(|attributes| {
        let referenced = attributes.items(tags::REFERENCED_REQUEST_SEQUENCE);
        referenced.chain(attributes.items(tags::REQUEST_ATTRIBUTES_SEQUENCE))
    });
    for attributes in std::iter::once(row).chain(requests) {
        let candidates = [
            accession_number(context, attributes),
            order_number(context, attributes, tags::PLACER_ORDER_NUMBER_IMAGING_SERVICE_REQUEST, PLACER),
            order_number(context, attributes, tags::FILLER_ORDER_NUMBER_IMAGING_SERVICE_REQUEST, FILLER),
        ];
        for number in candidates.into_iter().flatten() {
            // A request with the number of the study but without an issuer is the same order.
            let has_no_issuer = attributes.items(tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE).next().is_none();
            let is_same_order = |known: &Identifier| {
                known.value == number.value
                    && known.kind == number.kind
                    && (has_no_issuer || known.system == number.system)
            };
            if !numbers.iter().any(is_same_order) {
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
    number_tag: Tag,
    (code, display, issuer_tag): OrderKind,
) -> Option<Identifier> {
    let value = request.text(number_tag).and_then(to_fhir_string)?;
    let issuer = Issuer::resolve(context, request.items(issuer_tag).next(), None, None);
    Some(issuer.identifier(value, Some((code, display))))
}

/// Returns the reference to the encounter by its admission number.
pub(super) fn encounter_reference(context: &MappingContext, row: &Attributes) -> Option<Reference> {
    let value = row.text(tags::ADMISSION_ID).and_then(to_fhir_string)?;
    let issuer =
        Issuer::resolve(context, row.items(tags::ISSUER_OF_ADMISSION_ID_SEQUENCE).next(), None, None);
    let identifier = issuer.identifier(value, Some(("VN", "Visit number")));
    Some(Reference { kind: Some("Encounter".into()), identifier: Some(identifier), ..Reference::default() })
}

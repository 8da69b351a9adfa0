//! The requirements of implementation guides beyond R4, each enabled by configuration, and the profiles that a resource claims
//! (R4 profiling.html, resource#Meta). A resource claims the profiles of the enabled guides if it conforms to every
//! cardinality, pattern and invariant.
//!
//! | guide | change |
//! | --- | --- |
//! | SMART Imaging Access 0.1.0 (Argonaut) | a study has a modality, which may be unknown; an Endpoint states whether it requires a token |
//! | IHE RAD Interactive Multimedia Report 1.1.0 | a study has a modality; the payload of an Endpoint is a DICOM study |
//! | IHE RAD MADO 1.0.0, as HL7 Europe's imaging guides use it | UIDs and accession numbers have identifier types of DICOM; instances have their number of frames |
//! | US Core | an unknown name or gender has a data-absent-reason (US Core "Missing Data") |
//! | International Patient Access 1.1.0 | nothing |
//!
//! No profile of MADO is claimed: its Endpoints must have a Retrieve Location UID (0040,E011), which archives do not return. The
//! profiles of HL7 Europe are not claimed either, because their canonical URLs are not final.

use std::borrow::Cow;
use std::collections::BTreeSet;

use fhir_r4::types::{Element, Endpoint, Extension, HumanName, Identifier, ImagingStudy, Patient};

/// An implementation guide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guide {
    /// SMART Imaging Access of the Argonaut project.
    SmartImagingAccess,
    /// IHE Radiology: Interactive Multimedia Report.
    IheImr,
    /// IHE Radiology: Manifest-based Access to DICOM Objects, the basis of HL7 Europe's imaging guides.
    EuImaging,
    /// HL7 US Core.
    UsCore,
    /// HL7 International Patient Access.
    Ipa,
}

impl Guide {
    /// All guides.
    pub const ALL: [Self; 5] =
        [Self::SmartImagingAccess, Self::IheImr, Self::EuImaging, Self::UsCore, Self::Ipa];
}

/// A profile: its guide, its canonical URL, and whether a resource conforms to it.
type ProfileRule<R> = (Guide, &'static str, fn(&R) -> bool);

/// A resource that may claim profiles.
pub trait HasProfiles: Sized + 'static {
    /// The profiles of the guides for this resource.
    const PROFILES: &'static [ProfileRule<Self>];
}

impl HasProfiles for ImagingStudy {
    const PROFILES: &'static [ProfileRule<Self>] = &[
        (
            Guide::SmartImagingAccess,
            "http://fhir.org/argonaut/smart-imaging/StructureDefinition/smart-imaging-study",
            is_retrievable,
        ),
        (Guide::IheImr, "https://profiles.ihe.net/RAD/IMR/StructureDefinition/imr-imagingstudy", |study| {
            is_retrievable(study) && study.started.is_some()
        }),
    ];
}

/// Whether the study has one Study Instance UID, a modality and an Endpoint. Its subject is always a Patient.
fn is_retrievable(study: &ImagingStudy) -> bool {
    let is_uid = |identifier: &&Identifier| identifier.system.as_deref() == Some("urn:dicom:uid");
    study.identifier.iter().filter(is_uid).count() == 1
        && !study.modality.is_empty()
        && !study.endpoint.is_empty()
}

impl HasProfiles for Endpoint {
    const PROFILES: &'static [ProfileRule<Self>] = &[
        (
            Guide::SmartImagingAccess,
            "http://fhir.org/argonaut/smart-imaging/StructureDefinition/smart-wado-endpoint",
            |endpoint| !endpoint.element.extension().is_empty(),
        ),
        (
            Guide::IheImr,
            "https://profiles.ihe.net/RAD/IMR/StructureDefinition/imaging-study-endpoint",
            |endpoint| endpoint.payload_type.len() == 1,
        ),
    ];
}

impl HasProfiles for Patient {
    const PROFILES: &'static [ProfileRule<Self>] = &[
        (Guide::UsCore, "http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient", |patient| {
            let is_known =
                |identifier: &Identifier| identifier.system.is_some() && identifier.value.is_some();
            // us-core-6: either a part of the name or a data-absent-reason.
            let is_valid = |name: &HumanName| has_parts(name) != has_absent_reason(&name.element);
            !patient.identifier.is_empty()
                && patient.identifier.iter().all(is_known)
                && !patient.name.is_empty()
                && patient.name.iter().all(is_valid)
                && patient.gender.is_some()
        }),
        (Guide::Ipa, "http://hl7.org/fhir/uv/ipa/StructureDefinition/ipa-patient", |patient| {
            // ipa-pat-1: an identifier needs a value and a system, a type or an assigner.
            let is_complete = |identifier: &Identifier| {
                identifier.value.is_some()
                    && (identifier.system.is_some()
                        || identifier.kind.is_some()
                        || identifier.assigner.is_some())
            };
            !patient.identifier.is_empty()
                && patient.identifier.iter().all(is_complete)
                && !patient.name.is_empty()
                && patient.name.iter().all(|name| has_parts(name) && name.text.is_some())
        }),
    ];
}

fn has_parts(name: &HumanName) -> bool {
    name.family.is_some() || !name.given.is_empty()
}

fn has_absent_reason(element: &Element) -> bool {
    element.extension().contains(&Extension::unknown())
}

/// Returns the canonical URLs of the profiles of the enabled guides that `resource` conforms to.
pub(super) fn profiles_of<R: HasProfiles>(guides: &BTreeSet<Guide>, resource: &R) -> Vec<Cow<'static, str>> {
    let claimed =
        R::PROFILES.iter().filter(|(guide, _, conforms)| guides.contains(guide) && conforms(resource));
    claimed.map(|(_, canonical, _)| Cow::Borrowed(*canonical)).collect()
}

/// Returns the canonical URLs of the profiles that a resource of this type may claim.
pub fn supported_profiles<R: HasProfiles>(guides: &BTreeSet<Guide>) -> Vec<&'static str> {
    let supported = R::PROFILES.iter().filter(|(guide, _, _)| guides.contains(guide));
    supported.map(|(_, canonical, _)| *canonical).collect()
}

/// Adds a data-absent-reason to an unknown name and gender (US Core, "Missing Data").
pub(super) fn add_absent_reasons(patient: &mut Patient) {
    if patient.name.is_empty() {
        patient.name.push(HumanName::default());
    }
    for name in patient.name.iter_mut().filter(|name| !has_parts(name)) {
        name.element.extend(Extension::unknown());
    }
    patient.gender.get_or_insert("unknown".into());
}

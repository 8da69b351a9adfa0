//! What implementation guides ask for beyond R4, each switched on by the deployment that needs it, and the profiles that a
//! resource names (R4 profiling.html, resource.html#Meta): those of the guides that are on, and of those only the ones that it
//! conforms to in every cardinality, pattern and invariant.
//!
//! | guide | what it changes |
//! | --- | --- |
//! | SMART Imaging Access 0.1.0 (Argonaut) | a study has a modality, if only one that nobody knows; an Endpoint says whether it needs a token |
//! | IHE RAD Interactive Multimedia Report 1.1.0 | a study has a modality; the payload of an Endpoint is a DICOM study |
//! | IHE RAD MADO 1.0.0, as HL7 Europe's imaging guides use it | UIDs and accession numbers have the types of DICOM; instances tell how many frames they have |
//! | US Core | a name and a gender that are not known say so (US Core "Missing Data") |
//! | International Patient Access 1.1.0 | nothing |
//!
//! No profile of MADO is named: its Endpoints must have a Retrieve Location UID (0040,E011), which no archive tells here. Nor is
//! one of HL7 Europe's named, whose canonicals are not settled.

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
    /// IHE Radiology: Manifest-based Access to DICOM Objects, the ground of HL7 Europe's imaging guides.
    EuImaging,
    /// HL7 US Core.
    UsCore,
    /// HL7 International Patient Access.
    Ipa,
}

impl Guide {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::SmartImagingAccess, Self::IheImr, Self::EuImaging, Self::UsCore, Self::Ipa];
}

/// A profile: whose it is, its canonical, and whether a resource conforms to it.
type ProfileRule<R> = (Guide, &'static str, fn(&R) -> bool);

/// A resource that may name profiles.
pub trait Profiled: Sized + 'static {
    /// Those of the guides.
    const PROFILES: &'static [ProfileRule<Self>];
}

impl Profiled for ImagingStudy {
    const PROFILES: &'static [ProfileRule<Self>] = &[
        (
            Guide::SmartImagingAccess,
            "http://fhir.org/argonaut/smart-imaging/StructureDefinition/smart-imaging-study",
            can_be_retrieved,
        ),
        (Guide::IheImr, "https://profiles.ihe.net/RAD/IMR/StructureDefinition/imr-imagingstudy", |study| {
            can_be_retrieved(study) && study.started.is_some()
        }),
    ];
}

/// One Study Instance UID, a modality and an Endpoint. The subject is a Patient in any case.
fn can_be_retrieved(study: &ImagingStudy) -> bool {
    let is_uid = |identifier: &&Identifier| identifier.system.as_deref() == Some("urn:dicom:uid");
    study.identifier.iter().filter(is_uid).count() == 1
        && !study.modality.is_empty()
        && !study.endpoint.is_empty()
}

impl Profiled for Endpoint {
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

impl Profiled for Patient {
    const PROFILES: &'static [ProfileRule<Self>] = &[
        (Guide::UsCore, "http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient", |patient| {
            let is_known =
                |identifier: &Identifier| identifier.system.is_some() && identifier.value.is_some();
            // us-core-6: a part of the name, or else why there is none.
            let is_sound = |name: &HumanName| has_parts(name) != says_what_is_missing(&name.element);
            !patient.identifier.is_empty()
                && patient.identifier.iter().all(is_known)
                && !patient.name.is_empty()
                && patient.name.iter().all(is_sound)
                && patient.gender.is_some()
        }),
        (Guide::Ipa, "http://hl7.org/fhir/uv/ipa/StructureDefinition/ipa-patient", |patient| {
            // ipa-pat-1: a number that nobody can place is none.
            let is_placed = |identifier: &Identifier| {
                identifier.value.is_some()
                    && (identifier.system.is_some()
                        || identifier.kind.is_some()
                        || identifier.assigner.is_some())
            };
            !patient.identifier.is_empty()
                && patient.identifier.iter().all(is_placed)
                && !patient.name.is_empty()
                && patient.name.iter().all(|name| has_parts(name) && name.text.is_some())
        }),
    ];
}

fn has_parts(name: &HumanName) -> bool {
    name.family.is_some() || !name.given.is_empty()
}

fn says_what_is_missing(element: &Element) -> bool {
    element.extension().contains(&Extension::unknown())
}

/// The canonicals of the profiles that `resource` conforms to, of the guides that are on.
pub(super) fn profiles_of<R: Profiled>(guides: &BTreeSet<Guide>, resource: &R) -> Vec<Cow<'static, str>> {
    let named =
        R::PROFILES.iter().filter(|(guide, _, conforms)| guides.contains(guide) && conforms(resource));
    named.map(|(_, canonical, _)| Cow::Borrowed(*canonical)).collect()
}

/// The canonicals of the profiles that a resource of this type may name.
pub fn supported_profiles<R: Profiled>(guides: &BTreeSet<Guide>) -> Vec<&'static str> {
    let supported = R::PROFILES.iter().filter(|(guide, _, _)| guides.contains(guide));
    supported.map(|(_, canonical, _)| *canonical).collect()
}

/// Says of a name and a gender that they are not known (US Core, "Missing Data").
pub(super) fn tell_what_is_missing(patient: &mut Patient) {
    if patient.name.is_empty() {
        patient.name.push(HumanName::default());
    }
    for name in patient.name.iter_mut().filter(|name| !has_parts(name)) {
        name.element.extend(Extension::unknown());
    }
    patient.gender.get_or_insert("unknown".into());
}

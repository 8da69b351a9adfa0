//! `[fhir]`: the optional content of resources.

use std::collections::BTreeSet;

use super::section::Section;
use super::values::{boolean, several_of};

/// The default of `profiles`: the guide for gateways of this kind.
const PROFILES: [ImplementationGuide; 1] = [ImplementationGuide::SmartImagingAccess];

/// The default of `narrative`. A narrative repeats the elements as text for people, and makes a study a third larger.
const NARRATIVE: bool = false;

/// The default of `notes`. Comments are free text that may contain names, so an operator must decide to return them.
const NOTES: bool = false;

/// An implementation guide in `profiles`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ImplementationGuide {
    /// SMART Imaging Access of the Argonaut project.
    SmartImagingAccess,
    /// IHE Radiology: Interactive Multimedia Report.
    IheImr,
    /// HL7 Europe's imaging guides, based on IHE MADO.
    EuImaging,
    /// HL7 US Core.
    UsCore,
    /// HL7 International Patient Access.
    Ipa,
}

impl ImplementationGuide {
    const NAMES: [(&'static str, Self); 5] = [
        ("smart-imaging-access", Self::SmartImagingAccess),
        ("ihe-imr", Self::IheImr),
        ("eu-imaging", Self::EuImaging),
        ("us-core", Self::UsCore),
        ("ipa", Self::Ipa),
    ];
}

/// The optional content of resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FhirConfig {
    /// The implementation guides that resources follow. A resource claims only profiles to which it conforms.
    pub guides: BTreeSet<ImplementationGuide>,
    /// Whether every resource has a generated narrative; `_summary=text` always includes it.
    pub narrative: bool,
    /// Whether comments on studies and series are requested from archives and included in resources.
    pub notes: bool,
}

impl FhirConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self {
            guides: section.take_or(
                "profiles",
                several_of(&ImplementationGuide::NAMES),
                BTreeSet::from(PROFILES),
            ),
            narrative: section.take_or("narrative", boolean, NARRATIVE),
            notes: section.take_or("notes", boolean, NOTES),
        }
    }
}

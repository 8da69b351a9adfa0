//! `[fhir]`: what resources contain in addition to what R4 requires.

use std::collections::BTreeSet;

use super::section::Section;
use super::values::{boolean, several_of};

/// The guide that describes this gateway most precisely.
const PROFILES: [ImplementationGuide; 1] = [ImplementationGuide::SmartImagingAccess];

/// Programs read elements; a narrative makes a study a third larger and adds nothing to them.
const NARRATIVE: bool = false;

/// Comments are free text: people write names and anything else there. An operator has to choose to show them.
const NOTES: bool = false;

/// An implementation guide, as `profiles` names it.
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

/// What resources contain in addition to what R4 requires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FhirConfig {
    /// The implementation guides that resources follow. A resource lists a profile only if it conforms to it.
    pub guides: BTreeSet<ImplementationGuide>,
    /// Whether every resource has a generated narrative; `_summary=text` always includes it.
    pub narrative: bool,
    /// Whether the comments on studies and series are fetched and shown.
    pub notes: bool,
}

impl FhirConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self {
            guides: section.or("profiles", several_of(&ImplementationGuide::NAMES), BTreeSet::from(PROFILES)),
            narrative: section.or("narrative", boolean, NARRATIVE),
            notes: section.or("notes", boolean, NOTES),
        }
    }
}

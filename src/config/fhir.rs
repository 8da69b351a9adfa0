//! `[fhir]`: what resources hold beyond what R4 asks for.

use std::collections::BTreeSet;

use super::section::Section;
use super::values::{several_of, truth};
use crate::mapping::Guide;

/// The guide that describes this gateway most exactly.
const PROFILES: [Guide; 1] = [Guide::SmartImagingAccess];

/// Programs read elements; a narrative adds a third to a study, and says nothing that they do not.
const NARRATIVE: bool = false;

/// Comments are free text: names of people and whatever else somebody wrote. A deployment has to want them.
const NOTES: bool = false;

/// What resources hold beyond what R4 asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FhirConfig {
    /// The implementation guides that resources follow, and whose profiles they name where they conform to them.
    pub guides: BTreeSet<Guide>,
    /// Whether every resource is told in words too, as `_summary=text` is in any case.
    pub narrative: bool,
    /// Whether the comments on studies and series are asked for and shown.
    pub notes: bool,
}

impl FhirConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self {
            guides: section.or("profiles", several_of(&Guide::ALL), BTreeSet::from(PROFILES)),
            narrative: section.or("narrative", truth, NARRATIVE),
            notes: section.or("notes", truth, NOTES),
        }
    }
}

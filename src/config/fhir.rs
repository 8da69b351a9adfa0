//! `[fhir]`: what resources hold beyond what R4 asks for.

use std::collections::BTreeSet;

use super::section::Section;
use super::values::several_of;
use crate::mapping::Guide;

/// The guide that describes this gateway most exactly.
const PROFILES: [Guide; 1] = [Guide::SmartImagingAccess];

/// What resources hold beyond what R4 asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fhir {
    /// The implementation guides that resources follow, and whose profiles they name where they conform to them.
    pub guides: BTreeSet<Guide>,
}

impl Fhir {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self { guides: section.or("profiles", several_of(&Guide::ALL), BTreeSet::from(PROFILES)) }
    }
}

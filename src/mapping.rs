//! DICOM → FHIR R4, element by element. Pure functions from attributes to resources: no archive, no async, no clock.
//!
//! Nothing is invented. A code that cannot be translated for certain becomes words; a time without a zone becomes a day; an
//! identifier without an issuer has no system. The published R4 mapping of ImagingStudy has two misprints that are not
//! repeated here: the issuer of the accession number is (0008,0051), the content label (0070,0080).

mod attributes;
mod coding;
mod dates;
mod endpoint;
mod equipment;
mod identifiers;
mod instance;
mod location;
mod names;
mod notes;
mod patient;
mod people;
mod procedure;
mod profiles;
mod record;
mod series;
mod specimens;
mod study;
mod terminology;

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;

use fhir_r4::types::{Narrated, Narrative};

pub use attributes::{
    instance_tags, overlay_series, overlay_study, patient_tags, series_note_tags, series_tags,
    study_note_tags, study_tags,
};
pub use endpoint::endpoint;
pub use instance::InstanceFacts;
pub use patient::{PatientKey, patient};
pub use profiles::{Guide, Profiled, supported_profiles};
pub use record::SeriesSource;
pub use study::imaging_study;

/// What the configuration says of an archive's identifiers and times, and of what resources hold.
#[derive(Debug, Clone, Default)]
pub struct MappingContext {
    /// The archive's id: part of the Patient ids of patients whose identifiers have no system.
    pub archive: String,
    /// The zone of times that name none.
    pub time_zone: Option<TimeZone>,
    /// The system of patient identifiers that name no issuer.
    pub patient_id_system: Option<String>,
    /// The systems of issuers that are known by a local name.
    pub issuers: BTreeMap<String, String>,
    /// The system of accession numbers that name no issuer.
    pub accession_system: Option<String>,
    /// The implementation guides that resources follow.
    pub guides: BTreeSet<Guide>,
    /// Whether resources are told in words too.
    pub narrative: bool,
    /// Whether the comments on studies and series are shown.
    pub notes: bool,
}

impl MappingContext {
    /// The resource in words, where that is wanted.
    fn told(&self, resource: &impl Narrated) -> Option<Narrative> {
        self.narrative.then(|| resource.narrative())
    }

    fn follows(&self, guide: Guide) -> bool {
        self.guides.contains(&guide)
    }
}

/// What the rules of this room are called. It changes with every change of what they make of the same attributes, so that
/// what was made by older rules counts as changed.
const REVISION: u32 = 2;

impl MappingContext {
    /// Names the rules by which this archive's attributes are read: those of this room, and what is configured.
    pub fn rules(&self) -> String {
        // Every field is in it, also those that are yet to come.
        format!("{REVISION} {self:?}")
    }
}

#[cfg(test)]
mod tests;

//! The mapping of DICOM attributes to FHIR R4 resources, element by element. All functions are pure: they call no
//! archive and read no clock.
//!
//! The mapping invents nothing. A code that cannot be translated with certainty becomes text; a time without a time zone becomes
//! a date; an identifier without an issuer has no system. The published R4 mapping of ImagingStudy has two wrong tags, which are
//! corrected here: the issuer of the accession number is (0008,0051), the content label is (0070,0080).

mod attributes;
mod coding;
mod dates;
mod differences;
mod endpoint;
mod equipment;
mod identifiers;
mod instance;
mod location;
mod merge;
mod names;
mod notes;
mod patient;
mod patient_ids;
mod people;
mod procedure;
mod profiles;
mod record;
mod row_patient;
mod series;
mod specimens;
mod study;
mod terminology;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::tz::TimeZone;

use fhir_r4::types::{HasNarrative, Narrative};

pub use attributes::{
    complete_study, instance_tags, overlay_series, patient_tags, series_note_tags, series_tags,
    study_note_tags, study_tags,
};
pub use differences::{DIFFERING_ELEMENT, differing_elements};
pub use endpoint::{EndpointStatus, endpoint};
pub use identifiers::{DICOM_UID_SYSTEM, uid_of_identifier};
pub use instance::MappedInstance;
pub use merge::merge_studies;
pub use patient::{PatientKey, patient};
pub use patient_ids::{NoSecret, OpenedPatientId, PatientIds};
pub use profiles::{Guide, HasProfiles, supported_profiles};
pub use record::SeriesRecord;
pub use row_patient::{NAMED_PATIENT_TAGS, RowPatient};
pub use study::imaging_study;

/// The configuration of an archive's identifiers and times, and of the content of resources.
#[derive(Debug, Clone)]
pub struct MappingContext {
    /// The id of the archive, which is part of the ids of patients whose identifiers have no system.
    pub archive: String,
    /// The time zone of times without an offset from UTC.
    pub time_zone: Option<TimeZone>,
    /// The system of patient identifiers without an issuer.
    pub patient_id_system: Option<String>,
    /// The systems of issuers, by the local name that DICOM objects contain.
    pub issuers: BTreeMap<String, String>,
    /// The system of accession numbers without an issuer.
    pub accession_system: Option<String>,
    /// The implementation guides that resources conform to.
    pub guides: BTreeSet<Guide>,
    /// Whether resources include a generated narrative (text.div).
    pub narrative: bool,
    /// Whether comments on studies and series are included.
    pub notes: bool,
    /// The keys of Patient ids.
    pub patient_ids: Arc<PatientIds>,
}

impl MappingContext {
    /// Returns the context of `archive` without any other configuration.
    pub fn new(archive: &str, patient_ids: Arc<PatientIds>) -> Self {
        Self {
            archive: archive.to_owned(),
            time_zone: None,
            patient_id_system: None,
            issuers: BTreeMap::new(),
            accession_system: None,
            guides: BTreeSet::new(),
            narrative: false,
            notes: false,
            patient_ids,
        }
    }

    /// Returns the narrative of the resource, if configured.
    fn narrative_of(&self, resource: &impl HasNarrative) -> Option<Narrative> {
        self.narrative.then(|| resource.narrative())
    }

    /// Whether resources conform to `guide`.
    fn follows(&self, guide: Guide) -> bool {
        self.guides.contains(&guide)
    }
}

/// The revision of the mapping rules. It changes whenever the same attributes are mapped to other content, so that resources
/// from older rules count as changed.
const REVISION: u32 = 5;

impl MappingContext {
    /// Returns a text that identifies the rules by which the attributes of this archive are mapped: the revision of the code, and
    /// the configuration.
    pub fn rules(&self) -> String {
        // `Debug` prints every field, including fields added later.
        format!("{REVISION} {self:?}")
    }
}

#[cfg(test)]
mod tests;

//! Which version each study is, as the change log knows it, and searches by when a study changed.
//!
//! Such a search asks the archives in any case, and shows the change log every study that may match: only what was seen can be
//! said to have changed or not. It tells the moment before it asked; whoever asks for what has changed since that moment
//! misses nothing.

use super::{FoundStudies, FoundStudy, Studies};
use crate::change_log::{Observation, ResourceKey};
use crate::fingerprint::Fingerprint;
use fhir_r4::search::{Criterion, ImagingStudyParam, SortKey};
use fhir_r4::types::ImagingStudy;

const LAST_UPDATED: &str = "_lastUpdated";

/// Whether a criterion is about the time of a version.
pub(super) fn is_about_time(criterion: &Criterion<ImagingStudy>) -> bool {
    criterion.parameter.key == ImagingStudyParam::LastUpdated
}

/// Whether a search cannot be answered without the time of each version.
pub(super) fn asks_when(criteria: &[Criterion<ImagingStudy>], sort: &[SortKey]) -> bool {
    criteria.iter().any(is_about_time) || sort.iter().any(|key| key.parameter == LAST_UPDATED)
}

impl Studies {
    /// Notes in the change log what was found, and which version each study is in `found`.
    pub(super) async fn date(&self, found: &mut FoundStudies) {
        let all = || found.studies.iter().chain(&found.patient_conflicts);
        let versions = self.change_log.observe(all().map(|study| self.observation(study)).collect()).await;
        let studies = found.studies.iter_mut().chain(&mut found.patient_conflicts);
        for (study, version) in studies.zip(versions) {
            study.version = Some(version);
        }
    }

    /// What the rows of a study are to the change log.
    pub(super) fn observation(&self, study: &FoundStudy) -> Observation {
        let (resource, fingerprint) = (ResourceKey::study(study.uid()), self.fingerprint(study));
        Observation { resource, fingerprint, content: None }
    }

    /// Changes with a study's rows, and with the rules by which they are read.
    fn fingerprint(&self, study: &FoundStudy) -> Fingerprint {
        let rules = self.source(&study.first().archive).map_or("", |source| source.rules.as_str());
        study.fingerprint().read_by(rules.as_bytes())
    }
}

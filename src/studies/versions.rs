//! The version of each study, according to the change log, and searches by `_lastUpdated`.
//!
//! Such a search always queries the archives, and passes every study that may match to the change log: only a study that was
//! observed can be reported as changed or unchanged. The response contains the time just before the queries began; a client
//! that next asks for changes since that time misses nothing.

use super::{FoundStudies, FoundStudy, Studies};
use crate::auth::Access;
use crate::change_log::{ListingKey, Observation, ResourceKey};
use crate::fingerprint::Fingerprint;
use fhir_r4::search::{Criterion, ImagingStudyParam, SortKey};
use fhir_r4::types::ImagingStudy;

/// Whether a criterion compares the time of a version.
pub(super) fn is_about_time(criterion: &Criterion<ImagingStudy>) -> bool {
    criterion.parameter.key == ImagingStudyParam::LastUpdated
}

/// Whether a search needs the time of each version.
pub(super) fn needs_versions(criteria: &[Criterion<ImagingStudy>], sort: &[SortKey<ImagingStudy>]) -> bool {
    let is_by_time = |key: &SortKey<_>| key.parameter().key == ImagingStudyParam::LastUpdated;
    criteria.iter().any(is_about_time) || sort.iter().any(is_by_time)
}

/// The search that a complete list of candidates belongs to, if the search asks for changes.
fn listing_of(criteria: &[Criterion<ImagingStudy>]) -> Option<ListingKey> {
    let (times, others): (Vec<_>, Vec<_>) = criteria.iter().partition(|criterion| is_about_time(criterion));
    let text = |criterion: &Criterion<_>| format!("{} {:?}", criterion.parameter.name, criterion.test);
    (!times.is_empty()).then(|| ListingKey::of(others.into_iter().map(text).collect()))
}

impl Studies {
    /// Tells the change log which studies the list of a search by `_lastUpdated` contains. `found` are all candidates of the search,
    /// without their versions. The list of a caller who sees only some studies says nothing about the others.
    pub(super) async fn record_listing(
        &self,
        found: &FoundStudies,
        criteria: &[Criterion<ImagingStudy>],
        access: &Access,
    ) {
        let Some(listing) = listing_of(criteria).filter(|_| access.sees_everything()) else { return };
        let may_match = |study: &&FoundStudy| self.by_row(study, criteria).is_some();
        let studies = found.studies.iter().chain(&found.patient_conflicts).filter(may_match);
        let present: Vec<_> = studies.map(|study| ResourceKey::study(study.uid())).collect();
        self.change_log.observe_listing(listing, present.into_iter()).await;
    }

    /// Records the found studies in the change log, and stores the version of each in `found`.
    pub(super) async fn date(&self, found: &mut FoundStudies) {
        let all = || found.studies.iter().chain(&found.patient_conflicts);
        let versions = self.change_log.observe(all().map(|study| self.observation(study)).collect()).await;
        let studies = found.studies.iter_mut().chain(&mut found.patient_conflicts);
        for (study, version) in studies.zip(versions) {
            study.version = Some(version);
        }
    }

    /// The observation that the change log records for a study's rows.
    pub(super) fn observation(&self, study: &FoundStudy) -> Observation {
        let (resource, fingerprint) = (ResourceKey::study(study.uid()), self.fingerprint(study));
        Observation { resource, fingerprint, content: None }
    }

    /// Changes with a study's rows, and with the rules by which they are mapped.
    fn fingerprint(&self, study: &FoundStudy) -> Fingerprint {
        let rules = self.source(&study.first().archive).map_or("", |source| source.rules.as_str());
        study.fingerprint().read_by(rules.as_bytes())
    }
}

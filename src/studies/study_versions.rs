//! The version of each study, according to the change log, and searches by `_lastUpdated`.
//!
//! Such a search always queries the archives, and passes every study that may match to the change log: only a study that was
//! observed can be reported as changed or unchanged. The response contains the time just before the queries began; a client
//! that next asks for changes since that time misses nothing. What the search itself is the first to see has this time, too, so
//! that it is not returned again, unless another request has used or received the time meanwhile.

use jiff::Timestamp;

use super::search::UnreadStudy;
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
    (!times.is_empty()).then(|| ListingKey::from_criteria(others.into_iter().map(text).collect()))
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
        self.date_since(found, None).await;
    }

    /// As [`date`](Self::date), for a search that began at `asked_at`.
    pub(super) async fn date_since(&self, found: &mut FoundStudies, asked_at: Option<Timestamp>) {
        let all = || found.studies.iter().chain(&found.patient_conflicts);
        let observations = all().map(|study| self.observation(study)).collect();
        let versions = self.change_log.observe(observations, asked_at).await;
        let studies = found.studies.iter_mut().chain(&mut found.patient_conflicts);
        for (study, version) in studies.zip(versions) {
            study.version = Some(version);
        }
    }

    /// Lets the next search for changes return the study again, if this search is one: it could return only a part of the study.
    pub async fn report_again(&self, study: &FoundStudy) {
        if study.version.is_some() {
            self.change_log.report_again(ResourceKey::study(study.uid())).await;
        }
    }

    /// As [`report_again`](Self::report_again), for the studies that a search for changes could not compare.
    pub(super) async fn report_unread_again(&self, unread: &[UnreadStudy]) {
        for study in unread {
            self.change_log.report_again(ResourceKey::study(&study.uid)).await;
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
        study.fingerprint().with_rules(rules.as_bytes())
    }
}

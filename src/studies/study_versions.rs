//! Looks up the versions of studies in the change log, also for searches by `_lastUpdated`.
//!
//! A search by `_lastUpdated` always queries the archives, and passes every candidate to the change log, because only a study
//! that was observed can be reported as changed or unchanged. The response contains the time just before the archives were
//! queried. A client that next requests changes since this time misses no change. Changes that the search itself detects have
//! this time too, so the client does not receive them again, unless another request has used or received this time meanwhile.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::search::UnreadableStudy;
use super::{FoundStudies, FoundStudy, Studies};
use crate::auth::Access;
use crate::change_log::{ListingKey, Observation, ResourceKey};
use crate::fingerprint::Fingerprint;
use fhir_r4::date::{FhirDate, Prefix};
use fhir_r4::search::{Comparison, Criterion, ImagingStudyParam, SortKey};
use fhir_r4::types::ImagingStudy;

/// The maximum offset of local time from UTC.
const MAX_UTC_OFFSET: SignedDuration = SignedDuration::from_hours(14);

/// Whether a criterion compares `meta.lastUpdated`, the time of the version.
pub(super) fn is_by_last_updated(criterion: &Criterion<ImagingStudy>) -> bool {
    criterion.parameter.key == ImagingStudyParam::LastUpdated
}

/// Whether a search compares or sorts by `meta.lastUpdated`, so the version of every candidate must be looked up.
pub(super) fn needs_versions(criteria: &[Criterion<ImagingStudy>], sort: &[SortKey<ImagingStudy>]) -> bool {
    let sorts_by_time = |key: &SortKey<_>| key.parameter().key == ImagingStudyParam::LastUpdated;
    criteria.iter().any(is_by_last_updated) || sort.iter().any(sorts_by_time)
}

/// Returns the key of the list of candidates in the change log; `None` if the search does not compare `meta.lastUpdated`.
fn listing_key(criteria: &[Criterion<ImagingStudy>]) -> Option<ListingKey> {
    let (time_criteria, others): (Vec<_>, Vec<_>) =
        criteria.iter().partition(|criterion| is_by_last_updated(criterion));
    let to_text =
        |criterion: &Criterion<_>| format!("{} {:?}", criterion.parameter.name, criterion.comparison);
    (!time_criteria.is_empty()).then(|| ListingKey::from_criteria(others.into_iter().map(to_text).collect()))
}

/// Returns the time since which a search by `_lastUpdated` requests changes, or a later time; `None` if the search has no such
/// time.
fn changed_since(criteria: &[Criterion<ImagingStudy>]) -> Option<Timestamp> {
    let last_instant = |date: &FhirDate| {
        let offset = if date.has_zone() { SignedDuration::ZERO } else { MAX_UTC_OFFSET };
        date.last_instant(&TimeZone::UTC).checked_add(offset).unwrap_or(Timestamp::MAX)
    };
    let latest = |criterion: &Criterion<ImagingStudy>| {
        let Comparison::Date(values) = &criterion.comparison else { return None };
        let requests_later =
            |prefix: Prefix| !matches!(prefix, Prefix::Less | Prefix::LessOrEqual | Prefix::EndsBefore);
        values.iter().filter(|(prefix, _)| requests_later(*prefix)).map(|(_, date)| last_instant(date)).max()
    };
    criteria.iter().filter(|criterion| is_by_last_updated(criterion)).filter_map(latest).max()
}

impl Studies {
    /// Records in the change log which studies the list of a search by `_lastUpdated` contains. `found` are all candidates of the
    /// search, without their versions. Nothing is recorded if the caller may see only some studies, because the others are
    /// missing from the list.
    pub(super) async fn record_listing(
        &self,
        found: &FoundStudies,
        criteria: &[Criterion<ImagingStudy>],
        access: &Access,
    ) {
        let Some(listing) = listing_key(criteria).filter(|_| access.may_see_all()) else { return };
        let may_match = |study: &&FoundStudy| self.compare_row(study, criteria).is_some();
        let studies = found.studies.iter().chain(&found.patient_conflicts).filter(may_match);
        let resources: Vec<_> = studies.map(|study| ResourceKey::study(study.uid())).collect();
        self.change_log.observe_listing(listing, changed_since(criteria), resources.into_iter()).await;
    }

    /// Records the studies in the change log, and stores the version of each in `found`. `requested_at` is the time that the
    /// client receives for its next search, if any.
    pub(super) async fn add_versions(&self, found: &mut FoundStudies, requested_at: Option<Timestamp>) {
        let studies = found.studies.iter().chain(&found.patient_conflicts);
        let observations = studies.map(|study| self.observation(study)).collect();
        let versions = self.change_log.observe(observations, requested_at).await;
        let studies = found.studies.iter_mut().chain(&mut found.patient_conflicts);
        for (study, version) in studies.zip(versions) {
            study.version = Some(version);
        }
    }

    /// Makes the next observation of a study count as a change, if the study was found by a search by `_lastUpdated`: the response
    /// contains only a part of the study.
    pub async fn report_again(&self, study: &FoundStudy) {
        if study.version.is_some() {
            self.change_log.report_again(ResourceKey::study(study.uid())).await;
        }
    }

    /// Makes the next observation of the studies count as a change, because a search by `_lastUpdated` could not compare them.
    pub(super) async fn report_unreadable_again(&self, unreadable: &[UnreadableStudy]) {
        for study in unreadable {
            self.change_log.report_again(ResourceKey::study(&study.uid)).await;
        }
    }

    /// Returns the observation of the rows of a study.
    pub(super) fn observation(&self, study: &FoundStudy) -> Observation {
        let (resource, fingerprint) = (ResourceKey::study(study.uid()), self.fingerprint_with_rules(study));
        Observation { resource, fingerprint, content: None }
    }

    /// Returns a fingerprint that changes with the rows of a study and with their mapping rules.
    pub(super) fn fingerprint_with_rules(&self, study: &FoundStudy) -> Fingerprint {
        let rules = self.source(&study.first_row().archive).map_or("", |source| source.rules.as_str());
        study.fingerprint().with_rules(rules.as_bytes())
    }
}

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
use crate::change_log::{ChangeLogAway, ContentDigest, ListingKey, Observation, ResourceKey, Version};
use crate::fingerprint::Fingerprint;
use fhir_r4::date::{FhirDate, Prefix};
use fhir_r4::search::{Comparison, Criterion, ImagingStudyParam, SortKey};
use fhir_r4::types::ImagingStudy;

/// The maximum offset of local time from UTC.
const MAX_UTC_OFFSET: SignedDuration = SignedDuration::from_hours(14);

/// The precision of the times of versions.
const MILLISECOND: SignedDuration = SignedDuration::from_millis(1);

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

/// Returns the latest time of versions that a search by `_lastUpdated` excludes because they are too old, or a later time; `None` if it
/// excludes no such versions.
fn changed_since(criteria: &[Criterion<ImagingStudy>]) -> Option<Timestamp> {
    let excluded_until = |prefix: Prefix, date: &FhirDate| {
        let instant = match prefix {
            Prefix::Less | Prefix::LessOrEqual | Prefix::EndsBefore => return None,
            Prefix::Equal | Prefix::GreaterOrEqual | Prefix::Approximately => {
                date.first_instant(&TimeZone::UTC).checked_sub(MILLISECOND).unwrap_or(Timestamp::MIN)
            }
            Prefix::Greater | Prefix::StartsAfter | Prefix::NotEqual => date.last_instant(&TimeZone::UTC),
        };
        let offset = if date.has_zone() { SignedDuration::ZERO } else { MAX_UTC_OFFSET };
        Some(instant.checked_add(offset).unwrap_or(Timestamp::MAX))
    };
    let latest = |criterion: &Criterion<ImagingStudy>| {
        let Comparison::Date(values) = &criterion.comparison else { return None };
        values.iter().filter_map(|(prefix, date)| excluded_until(*prefix, date)).max()
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
    ) -> Result<(), ChangeLogAway> {
        let Some(listing) = listing_key(criteria).filter(|_| access.may_see_all()) else { return Ok(()) };
        let may_match = |study: &&FoundStudy| self.compare_row(study, criteria).is_some();
        let has_match = |study: &&FoundStudy| study.parts.iter().any(|part| may_match(&part));
        let conflicts = found.patient_conflicts.iter().filter(has_match);
        let studies = found.studies.iter().filter(may_match).chain(conflicts);
        let resources: Vec<_> = studies.map(|study| ResourceKey::study(study.uid())).collect();
        self.change_log.observe_listing(listing, changed_since(criteria), resources.into_iter()).await
    }

    /// Records the studies in the change log, and stores the version of each in `found`. `requested_at` is the time that the
    /// client receives for its next search, if any.
    pub(super) async fn add_versions(
        &self,
        found: &mut FoundStudies,
        requested_at: Option<Timestamp>,
    ) -> Result<(), ChangeLogAway> {
        let parts = found.patient_conflicts.iter().flat_map(|study| &study.parts);
        let studies = found.studies.iter().chain(parts).map(|study| (study, None));
        let versions = self.observe_studies(studies, requested_at).await?;
        let parts = found.patient_conflicts.iter_mut().flat_map(|study| &mut study.parts);
        for (study, version) in found.studies.iter_mut().chain(parts).zip(versions) {
            study.version = Some(version);
        }
        Ok(())
    }

    /// Records studies in the change log, with the digest of the content of each that was fetched, and returns their versions.
    ///
    /// If several patients have a study with the same UID, the rows of all of them are one observation, so that the study does not change
    /// whenever another one of the patients is observed. The content of the study of each patient is a further one. The version has the
    /// later time of both.
    pub(super) async fn observe_studies(
        &self,
        studies: impl Iterator<Item = (&FoundStudy, Option<ContentDigest>)>,
        requested_at: Option<Timestamp>,
    ) -> Result<Vec<Version>, ChangeLogAway> {
        let (mut observations, mut is_of_part) = (Vec::new(), Vec::new());
        for (study, content) in studies {
            let (uid, fingerprint) = (study.uid(), self.fingerprint_with_rules(study));
            let mut resource = ResourceKey::study(uid);
            if let Some(fingerprint) = study.rows_of_all_patients {
                observations.push(Observation { resource, fingerprint, content: None });
                let patient = study.subject_row().patient.id(&self.patient_ids);
                // What is only compared is not the content that the patient's study has when it is returned.
                let part = if study.is_ambiguous { format!("{patient}?") } else { patient };
                resource = ResourceKey::study_of_patient(uid, &part);
            }
            observations.push(Observation { resource, fingerprint, content });
            is_of_part.push(study.rows_of_all_patients.is_some());
        }
        let mut versions = self.change_log.observe(observations, requested_at).await?.into_iter();
        let version_of = |is_of_part: bool| {
            let version = versions.next()?;
            if is_of_part { Some(versions.next()?.not_before(&version)) } else { Some(version) }
        };
        Ok(is_of_part.into_iter().map_while(version_of).collect())
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

    /// Returns a fingerprint that changes with the rows of a study and with their mapping rules.
    pub(super) fn fingerprint_with_rules(&self, study: &FoundStudy) -> Fingerprint {
        let rules = self.source(&study.first_row().archive).map_or("", |source| source.rules.as_str());
        study.fingerprint().with_rules(rules.as_bytes())
    }
}

//! Deep checks: a cached study whose rows are unchanged is read again, because rows do not show every change below them, such as a
//! replaced instance or a corrected attribute.
//!
//! Unchanged rows confirm a study only for its lifetime, which begins when the content was read. After the lifetime, the next
//! request reads the study again. Studies in use do not wait for this: in the last part of the lifetime, a request that is served
//! from the cache also puts the study into a queue, from which one study at a time is read in the background, one series at a
//! time. The queue is bounded; a study that does not fit is read by a later request. Studies that nobody requests are not read.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use memchr::memmem;

use super::assembly::AssembledStudy;
use super::background::BackgroundQueue;
use super::{DetailLimits, FoundStudy, Freshness, Representation, SearchLimits, Studies, StudiesError};
use crate::request_priority::RequestPriority;
use crate::upstream::ArchiveId;
use dicom_model::{DicomDate, StudyUid, tags};

/// The age of a study after which corrections are rare.
const RECENT: SignedDuration = SignedDuration::from_hours(24 * 7);

/// The number of deep checks in the background at the same time.
const CHECK_CONCURRENCY: usize = 1;

/// The representations of cached studies that a search by `_lastUpdated` checks.
pub(super) const CHECKED_REPRESENTATIONS: [Representation; 2] = [Representation::Full, Representation::Data];

/// How long unchanged rows confirm a study whose content was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeepCheckLifetimes {
    /// The lifetime of a study of the last week, or without a date.
    pub recent: Duration,
    /// The lifetime of an older study.
    pub old: Duration,
}

/// The content of a cached study: when it was read, and for how long unchanged rows confirm it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ContentAge {
    /// The [`elapsed`](crate::clock::Clock::elapsed) time before the content was read.
    pub(super) read_at: Duration,
    /// The age at which the content is read again; `None` if the rows are the whole content.
    lifetime: Option<Duration>,
    /// The time at which it was invalidated; `None` if it was not.
    invalidated_at: Option<Duration>,
}

impl ContentAge {
    /// Whether unchanged rows confirm the content at `now`.
    pub(super) fn is_confirmable(&self, now: Duration) -> bool {
        self.invalidated_at.is_none() && self.lifetime.is_none_or(|lifetime| self.age(now) < lifetime)
    }

    /// Returns the age of the same content after an invalidation at `now`. Unchanged rows do not confirm this content.
    pub(super) fn to_invalidated(self, now: Duration) -> Self {
        Self { invalidated_at: Some(now), ..self }
    }

    /// Whether the content was invalidated.
    pub(super) fn is_invalidated(&self) -> bool {
        self.invalidated_at.is_some()
    }

    /// Returns the time of the invalidation of the `previous` content if this content was requested before that time.
    pub(super) fn superseded_at(&self, previous: &Self) -> Option<Duration> {
        previous.invalidated_at.filter(|at| *at > self.read_at)
    }

    /// Whether the study `uid` should be read in the background at `now`. Studies that were read together are due at different
    /// times between a half and three quarters of the lifetime.
    fn is_check_due(&self, uid: &StudyUid, now: Duration) -> bool {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(uid);
        let jitter = u32::try_from(hash % 256).unwrap_or_default();
        self.lifetime.is_some_and(|lifetime| self.age(now) >= lifetime / 2 + lifetime / 1024 * jitter)
    }

    fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.read_at)
    }
}

/// The studies that wait for a deep check in the background, or are being checked.
#[derive(Debug)]
pub(super) struct DeepChecks(Arc<BackgroundQueue>);

impl Default for DeepChecks {
    fn default() -> Self {
        Self(Arc::new(BackgroundQueue::new(CHECK_CONCURRENCY)))
    }
}

impl Studies {
    /// Returns the age of content of `study` that is requested at `read_at`. `is_row_only` is true if the rows are the whole
    /// content.
    pub(super) fn content_age(&self, study: &FoundStudy, read_at: Duration, is_row_only: bool) -> ContentAge {
        let lifetimes = self.limits.deep_checks;
        let lifetime = if self.is_old(study) { lifetimes.old } else { lifetimes.recent };
        ContentAge { read_at, lifetime: (!is_row_only).then_some(lifetime), invalidated_at: None }
    }

    /// Whether every row of the study has a date before the last week.
    fn is_old(&self, study: &FoundStudy) -> bool {
        let now = self.clock.now();
        study.rows_of_archives().all(|row| {
            let date = row.attributes.text(tags::STUDY_DATE).and_then(DicomDate::parse);
            let start = date.and_then(|date| TimeZone::UTC.to_timestamp(date.civil().at(0, 0, 0, 0)).ok());
            start.is_some_and(|start| now.duration_since(start) > RECENT)
        })
    }

    /// Schedules a deep check of `entry`, which was served from the cache, if it is due.
    pub(super) fn check_in_background_if_due(
        &self,
        uid: &StudyUid,
        representation: &Representation,
        entry: &AssembledStudy,
    ) {
        if entry.content_age.is_check_due(uid, self.cache.elapsed()) {
            self.check_in_background(uid, representation);
        }
    }

    /// Reads the study again in the background, unless it is already in the queue or the queue is full.
    pub(super) fn check_in_background(&self, uid: &StudyUid, representation: &Representation) {
        if let Some(work) = self.deep_checks.0.add(uid, representation) {
            self.read_in_background(work, Freshness::Reload);
        }
    }

    /// Returns the studies with the limits and the priority of work in the background: no client waits for it, so every other call
    /// to an archive takes precedence.
    pub(super) fn with_background_limits(&self) -> Self {
        let detail = DetailLimits { max_parallel_series: 1, ..self.limits.detail };
        let studies = self.with_priority(&RequestPriority::of_shared_work());
        Self { limits: SearchLimits { detail, ..self.limits }, ..studies }
    }

    /// Schedules a deep check of the study because an archive has not found its series or instance with the UID `child`, if the cached
    /// study lists it. The next read waits for the check. Content that is not older than the freshness lifetime is not checked
    /// again, because an archive may list objects that it cannot return.
    pub fn report_missing(&self, uid: &StudyUid, child: &str, archive: Option<&ArchiveId>) {
        let Some(entry) = self.cached(uid, &Representation::Full) else { return };
        let is_of_archive = archive.is_none_or(|archive| entry.patients.iter().any(|(id, _)| id == archive));
        let is_listed = || memmem::find(&entry.encoded.json, format!("\"{child}\"").as_bytes()).is_some();
        if is_of_archive && !self.cache.is_fresh(entry.content_age.read_at) && is_listed() {
            self.cache.insert(
                AssembledStudy::cache_key(uid, &Representation::Full),
                Arc::new(entry.to_invalidated(self.cache.elapsed())),
            );
            self.check_in_background(uid, &Representation::Full);
        }
    }

    /// Whether the cache contains the study with its instances, in a representation that searches by `_lastUpdated` check.
    pub(super) fn caches_instances(&self, uid: &StudyUid) -> bool {
        CHECKED_REPRESENTATIONS.iter().any(|representation| self.cached(uid, representation).is_some())
    }

    /// Checks the candidates of a search by `_lastUpdated` that are in the cache with their instances and whose rows are
    /// unchanged, so that the search finds their changes too. The oldest content is read first, at most `max_opened` studies; the
    /// others are read in the background, and a later search finds their changes.
    pub(super) async fn check_candidates<'a>(
        &self,
        candidates: impl Iterator<Item = &'a FoundStudy>,
    ) -> Result<(), StudiesError> {
        let now = self.cache.elapsed();
        let mut overdue = Vec::new();
        for study in candidates {
            for representation in CHECKED_REPRESENTATIONS {
                let Some(entry) = self.cached(study.uid(), &representation) else { continue };
                if entry.fingerprint != study.fingerprint() {
                    continue;
                }
                if entry.content_age.is_confirmable(now) {
                    self.check_in_background_if_due(study.uid(), &representation, &entry);
                } else {
                    overdue.push((entry.content_age.read_at, study.clone(), representation));
                }
            }
        }
        overdue.sort_by_key(|(read_at, ..)| *read_at);
        let postponed = overdue.split_off(overdue.len().min(self.limits.max_opened));
        for (_, study, representation) in &postponed {
            self.check_in_background(study.uid(), representation);
        }
        for representation in CHECKED_REPRESENTATIONS {
            let studies_to_read = overdue.iter().filter(|(_, _, other)| *other == representation);
            let studies: Vec<_> = studies_to_read.map(|(_, study, _)| study.clone()).collect();
            // An error that concerns one study is reported when the study is returned.
            self.assemble(&studies, &representation, Freshness::Cached).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn uid(number: usize) -> StudyUid {
        StudyUid::parse(&format!("1.2.{number}")).unwrap()
    }

    fn age(lifetime: Option<Duration>) -> ContentAge {
        ContentAge { read_at: Duration::from_secs(100), lifetime, invalidated_at: None }
    }

    #[test]
    fn content_is_confirmable_until_its_lifetime_ends() {
        let age = age(Some(Duration::from_mins(1)));
        assert!(age.is_confirmable(Duration::from_millis(159_999)));
        assert!(!age.is_confirmable(Duration::from_secs(160)));
    }

    #[test]
    fn nothing_confirms_invalidated_content_or_content_that_was_requested_before_the_invalidation() {
        let second = Duration::from_secs;
        let (content, later_content) = (age(None), ContentAge { read_at: second(102), ..age(None) });
        let invalidated = content.to_invalidated(second(101));
        assert!(!invalidated.is_confirmable(second(101)));
        assert_eq!(content.superseded_at(&invalidated), Some(second(101)));
        assert_eq!(later_content.superseded_at(&invalidated), None);
        assert_eq!(content.superseded_at(&later_content), None);
    }

    #[test]
    fn rows_that_are_the_whole_content_always_confirm_it() {
        let day = Duration::from_hours(24);
        assert!(age(None).is_confirmable(day));
        assert!(!age(None).is_check_due(&uid(1), day));
    }

    #[test]
    fn checks_of_studies_that_were_read_together_are_due_at_different_times_before_the_end_of_the_lifetime() {
        let age = age(Some(Duration::from_secs(1024)));
        let due_at = |number| {
            let is_due = |second: &u64| age.is_check_due(&uid(number), Duration::from_secs(*second));
            (100..=100 + 1024).find(is_due).unwrap()
        };
        let times: HashSet<_> = (0..100).map(due_at).collect();
        assert!(times.len() > 50, "{times:?}");
        assert!(times.iter().all(|time| (612..=868).contains(time)), "{times:?}");
    }
}

//! Determines which archives contain a study: searches every archive for the series of the study, and caches the result for
//! some seconds.
//!
//! If several archives contain a study with the UID, their rows of the study are compared, because the studies may belong to different
//! patients.
//!
//! An archive that fails may contain the study. Its error is returned if the response depends on it, and the result is not
//! cached.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use crate::cache::{Cache, CacheEntry, CacheKey, SingleFlight};
use crate::dicomweb::context::DicomwebContext;
use crate::dicomweb::error::DicomwebError;
use crate::dicomweb::patient_comparison::RowPatient;
use crate::dicomweb::proxy::first_rows::{RowText, read_first_rows};
use crate::request_priority::RequestPriority;
use crate::upstream::{Archive, ArchiveId, MatchValue, QidoQuery, SearchLevel};
use dicom_model::{Attributes, SeriesUid, StudyUid, tags};

/// Lifetime of a cached location. Viewers request the images of a study within seconds; a copy of another patient that appears
/// meanwhile is detected after this time.
const LOCATION_LIFETIME: Duration = Duration::from_secs(10);

/// Minimum age of a location before a study is located again because a resource was not found. Requests for resources that do not
/// exist would otherwise search every archive each time.
const MIN_LOCATION_AGE: Duration = Duration::from_secs(1);

/// The archives in which a study was found.
#[derive(Debug, Clone)]
pub(super) struct StudyLocation {
    copies: Vec<ArchiveCopy>,
    /// The error of an archive that could not be searched.
    failure: Option<DicomwebError>,
    /// The error if the copies do not belong to the same patient, or if this could not be determined.
    patient_failure: Option<DicomwebError>,
    /// The [`elapsed`](crate::clock::Clock::elapsed) time at which the archives were searched.
    searched_at: Duration,
}

impl CacheEntry for StudyLocation {
    fn size(&self) -> usize {
        let series = self.copies.iter().flat_map(|copy| &copy.series);
        let series_size = series.map(|series| size_of::<SeriesLocation>() + series.uid.len()).sum::<usize>();
        self.copies.len() * size_of::<ArchiveCopy>() + series_size
    }
}

/// The copy of a study in one archive.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ArchiveCopy {
    archive: ArchiveId,
    series: Vec<SeriesLocation>,
}

/// A series, with the number of its instances if the archive returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SeriesLocation {
    uid: Box<str>,
    instance_count: Option<i64>,
}

impl ArchiveCopy {
    /// Returns the series with `uid`.
    fn series(&self, uid: &str) -> Option<&SeriesLocation> {
        self.series.iter().find(|series| series.uid.as_ref() == uid)
    }

    /// Whether this copy contains all series and instances of `other`, according to the counts.
    fn covers(&self, other: &Self) -> bool {
        let is_contained = |series: &SeriesLocation| {
            self.series(&series.uid).is_some_and(|copy| copy.instance_count >= series.instance_count)
        };
        other.series.iter().all(is_contained)
    }
}

impl StudyLocation {
    /// Returns the archives that contain a part of the study, in the order of the configuration.
    pub(super) fn archives(&self) -> Vec<&ArchiveId> {
        self.copies.iter().map(|copy| &copy.archive).collect()
    }

    /// Returns the archives that contain the series, the most complete copy first.
    pub(super) fn archives_with(&self, series: &SeriesUid) -> Vec<&ArchiveId> {
        let mut archives: Vec<_> = self
            .copies
            .iter()
            .filter_map(|copy| Some((copy.series(series.as_str())?.instance_count, &copy.archive)))
            .collect();
        archives.sort_by_key(|(instance_count, _)| std::cmp::Reverse(*instance_count));
        archives.into_iter().map(|(_, archive)| archive).collect()
    }

    /// Returns the archive that contains the whole study; an error if every archive contains only a part of it.
    pub(super) fn complete_archives(&self) -> Result<Vec<&ArchiveId>, DicomwebError> {
        let is_complete = |copy: &&ArchiveCopy| self.copies.iter().all(|other| copy.covers(other));
        match self.copies.iter().find(is_complete) {
            Some(copy) => Ok(vec![&copy.archive]),
            None if self.copies.is_empty() => Ok(Vec::new()),
            None => Err(DicomwebError::StudySplitAcrossArchives),
        }
    }

    /// Returns an error if an archive could not be searched.
    pub(super) fn require_every_archive(&self) -> Result<(), DicomwebError> {
        self.failure.clone().map_or(Ok(()), Err)
    }

    /// Returns an error if archives assign the study to different patients, or if its patients could not be compared.
    pub(super) fn require_one_patient(&self) -> Result<(), DicomwebError> {
        self.patient_failure.clone().map_or(Ok(()), Err)
    }

    /// Whether every archive could be searched, and the study belongs to one patient.
    fn is_certain(&self) -> bool {
        self.failure.is_none() && self.patient_failure.is_none()
    }

    /// Whether an archive contains the series or, if `series` is `None`, the study.
    fn contains(&self, series: Option<&SeriesUid>) -> bool {
        match series {
            Some(series) => !self.archives_with(series).is_empty(),
            None => !self.copies.is_empty(),
        }
    }
}

/// Locates studies, and caches their locations.
#[derive(Debug, Clone)]
pub(super) struct StudyLocator {
    cache: Cache,
    flights: Arc<SingleFlight<StudyUid, Arc<StudyLocation>>>,
}

impl StudyLocator {
    /// Creates a locator that caches locations in `cache`.
    pub(super) fn new(cache: Cache) -> Self {
        Self { cache, flights: Arc::default() }
    }

    /// Locates `study`. A cached location is used only if it contains `series`, because a series may have been added since; if
    /// `series` is `None`, it must contain the study.
    pub(super) async fn locate(
        &self,
        study: &StudyUid,
        series: Option<&SeriesUid>,
        archives: &[Archive],
        priority: &RequestPriority,
        context: &DicomwebContext,
    ) -> Result<Arc<StudyLocation>, DicomwebError> {
        if let Some(location) = self.cached(study).filter(|location| location.contains(series)) {
            return Ok(location);
        }
        let (uid, archives, searched_at) = (study.clone(), archives.to_vec(), self.cache.elapsed());
        let context = context.clone();
        let search = |priority: RequestPriority| async move {
            let archives: Vec<_> = archives.iter().map(|archive| archive.with_priority(&priority)).collect();
            let mut location = search(&uid, &archives, context.limits.max_scan, searched_at).await;
            location.patient_failure = compare_patients(&location, &uid, &archives, &context).await.err();
            Arc::new(location)
        };
        let location = self
            .flights
            .run(study.clone(), priority, search)
            .await
            .map_err(|_| DicomwebError::Interrupted)?;
        if location.is_certain() && !location.copies.is_empty() {
            self.cache.insert(cache_key(study), Arc::clone(&location));
        }
        Ok(location)
    }

    /// Removes the cached `location` of `study`, of which an archive does not have a resource: the study may have been moved since.
    /// Returns false if the location was just determined.
    pub(super) fn forget(&self, study: &StudyUid, location: &StudyLocation) -> bool {
        let is_old = self.cache.age(location.searched_at) >= MIN_LOCATION_AGE;
        if is_old {
            self.cache.remove::<StudyLocation>(cache_key(study));
        }
        is_old
    }

    /// Returns the cached location, if it is not older than [`LOCATION_LIFETIME`].
    fn cached(&self, study: &StudyUid) -> Option<Arc<StudyLocation>> {
        let location: Arc<StudyLocation> = self.cache.get(cache_key(study))?;
        (self.cache.age(location.searched_at) < LOCATION_LIFETIME).then_some(location)
    }
}

/// Returns the key of a location in the cache.
fn cache_key(study: &StudyUid) -> CacheKey {
    CacheKey::from_parts([study.as_str()])
}

/// Searches every archive for the series of `study`.
async fn search(
    study: &StudyUid,
    archives: &[Archive],
    max_scan: usize,
    searched_at: Duration,
) -> StudyLocation {
    let level = SearchLevel::Series { study: study.clone() };
    let query = QidoQuery::new(level).include(&[tags::NUMBER_OF_SERIES_RELATED_INSTANCES]);
    let searches = archives.iter().map(|archive| read_first_rows(archive, &query, max_scan + 1, max_scan));
    let mut location =
        StudyLocation { copies: Vec::new(), failure: None, patient_failure: None, searched_at };
    for (archive, list) in archives.iter().zip(join_all(searches).await) {
        match list {
            Ok(list) if list.rows.len() > max_scan => {
                location.failure = Some(DicomwebError::TooCostly { limit: max_scan });
            }
            Ok(list) => {
                let series: Vec<_> = list.rows.iter().filter_map(|row| series_of(study, row)).collect();
                if !series.is_empty() {
                    location.copies.push(ArchiveCopy { archive: archive.id().clone(), series });
                }
            }
            Err(error) => location.failure = Some(error),
        }
    }
    location
}

/// Returns an error if the rows of `study` in the archives that contain it belong to different patients. A study that one archive
/// contains is not compared.
async fn compare_patients(
    location: &StudyLocation,
    study: &StudyUid,
    archives: &[Archive],
    context: &DicomwebContext,
) -> Result<(), DicomwebError> {
    let copies: Vec<_> =
        archives.iter().filter(|archive| location.archives().contains(&archive.id())).collect();
    if copies.len() < 2 {
        return Ok(());
    }
    let query = QidoQuery::new(SearchLevel::Studies)
        .matching(tags::STUDY_INSTANCE_UID, MatchValue::uid(study.uid()))
        .include(&[tags::PATIENT_ID, tags::ISSUER_OF_PATIENT_ID]);
    // An archive that ignores the key returns all of its studies.
    let max_scan = context.limits.max_scan;
    let searches = copies.iter().map(|archive| read_first_rows(archive, &query, max_scan + 1, max_scan));
    let mut patients: Vec<RowPatient> = Vec::new();
    for (archive, list) in copies.iter().zip(join_all(searches).await) {
        let list = list?;
        if list.rows.len() > max_scan {
            return Err(DicomwebError::TooCostly { limit: max_scan });
        }
        for row in list.rows.iter().filter(|row| *row.uid == *study.as_str()) {
            let patient = context.patients.patient(archive.id(), &row.text);
            if patients.iter().any(|other| other.contradicts(&patient)) {
                let archives = copies.iter().map(|archive| archive.id().clone()).collect();
                return Err(DicomwebError::PatientConflict { archives });
            }
            patients.push(patient);
        }
    }
    Ok(())
}

/// Returns the series of a row; `None` if it belongs to another study.
fn series_of(study: &StudyUid, row: &RowText) -> Option<SeriesLocation> {
    let attributes: Attributes = serde_json::from_str(&row.text).ok()?;
    let is_of_study = attributes.text(tags::STUDY_INSTANCE_UID).is_none_or(|other| other == study.as_str());
    is_of_study.then(|| SeriesLocation {
        uid: row.uid.clone(),
        instance_count: attributes.integer(tags::NUMBER_OF_SERIES_RELATED_INSTANCES),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{ManualClock, SharedClock};

    fn copy(archive: &str, series: &[(&str, Option<i64>)]) -> ArchiveCopy {
        let series =
            series.iter().map(|(uid, count)| SeriesLocation { uid: (*uid).into(), instance_count: *count });
        ArchiveCopy { archive: ArchiveId::parse(archive).unwrap(), series: series.collect() }
    }

    fn location(copies: &[ArchiveCopy]) -> StudyLocation {
        StudyLocation {
            copies: copies.to_vec(),
            failure: None,
            patient_failure: None,
            searched_at: Duration::ZERO,
        }
    }

    fn ids(archives: Vec<&ArchiveId>) -> Vec<&str> {
        archives.into_iter().map(ArchiveId::as_str).collect()
    }

    #[test]
    fn the_most_complete_copy_of_a_series_comes_first() {
        let location =
            location(&[copy("a", &[("1.1", Some(3))]), copy("c", &[("1.1", Some(5)), ("1.2", None)])]);
        let series = |uid| SeriesUid::parse(uid).unwrap();
        assert_eq!(ids(location.archives_with(&series("1.1"))), ["c", "a"]);
        assert_eq!(ids(location.archives_with(&series("1.2"))), ["c"]);
        assert_eq!(ids(location.archives_with(&series("1.3"))), [""; 0]);
    }

    #[test]
    fn a_study_is_retrieved_only_from_an_archive_that_contains_it_completely() {
        let whole =
            location(&[copy("a", &[("1.1", Some(3))]), copy("b", &[("1.1", Some(3)), ("1.2", Some(1))])]);
        assert_eq!(ids(whole.complete_archives().unwrap()), ["b"]);
        let copies = location(&[copy("a", &[("1.1", Some(3))]), copy("b", &[("1.1", Some(3))])]);
        assert_eq!(ids(copies.complete_archives().unwrap()), ["a"]);
        for split in [
            location(&[copy("a", &[("1.1", Some(3))]), copy("b", &[("1.2", Some(1))])]),
            location(&[copy("a", &[("1.1", Some(3)), ("1.2", Some(1))]), copy("b", &[("1.1", Some(4))])]),
        ] {
            assert!(matches!(split.complete_archives(), Err(DicomwebError::StudySplitAcrossArchives)));
        }
        assert_eq!(ids(location(&[]).complete_archives().unwrap()), [""; 0]);
    }

    #[test]
    fn a_study_is_located_again_after_ten_seconds() {
        let clock = Arc::new(ManualClock::default());
        let cache = Cache::new(100_000, Duration::ZERO, Arc::clone(&clock) as SharedClock);
        let locator = StudyLocator::new(cache.clone());
        let study = StudyUid::parse("1.2").unwrap();
        cache.insert(cache_key(&study), Arc::new(location(&[copy("a", &[("1.1", Some(3))])])));
        clock.advance(Duration::from_secs(9));
        assert!(locator.cached(&study).is_some(), "the lifetime of other entries does not apply");
        clock.advance(Duration::from_secs(1));
        assert!(locator.cached(&study).is_none());
    }
}

//! Locates the archives that hold a study: each is searched for the study's series, and the result is cached for a minute.
//!
//! An archive that fails is not assumed to hold nothing: its error is returned if the response depends on it, and nothing is
//! cached.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use crate::cache::{Cache, CacheEntry, CacheKey, SingleFlight};
use crate::dicomweb::error::DicomwebError;
use crate::dicomweb::proxy::first_rows::{RowText, first_rows};
use crate::upstream::{Archive, ArchiveId, QidoQuery, SearchLevel};
use dicom_model::{Attributes, SeriesUid, StudyUid, tags};

/// Viewers request the images of a study within seconds; a study that is moved is found again after a minute.
const LOCATION_LIFETIME: Duration = Duration::from_mins(1);

/// The archives in which a study was found.
#[derive(Debug, Clone)]
pub(super) struct StudyLocation {
    copies: Vec<ArchiveCopy>,
    /// The error of an archive that could not be searched.
    failure: Option<DicomwebError>,
    /// The clock's [`elapsed`](crate::clock::Clock::elapsed) when the archives were searched.
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
    instances: Option<i64>,
}

impl ArchiveCopy {
    fn series(&self, uid: &str) -> Option<&SeriesLocation> {
        self.series.iter().find(|series| series.uid.as_ref() == uid)
    }

    /// Whether this copy contains everything of `other`, according to the counts.
    fn covers(&self, other: &Self) -> bool {
        let is_contained = |series: &SeriesLocation| {
            self.series(&series.uid).is_some_and(|own| own.instances >= series.instances)
        };
        other.series.iter().all(is_contained)
    }
}

impl StudyLocation {
    /// The archives that hold anything of the study, in the order of the configuration.
    pub(super) fn holders(&self) -> Vec<&ArchiveId> {
        self.copies.iter().map(|copy| &copy.archive).collect()
    }

    /// The archives that hold the series, the most complete copy first.
    pub(super) fn holders_of(&self, series: &SeriesUid) -> Vec<&ArchiveId> {
        let mut holders: Vec<_> = self
            .copies
            .iter()
            .filter_map(|copy| Some((copy.series(series.as_str())?.instances, &copy.archive)))
            .collect();
        holders.sort_by_key(|(instances, _)| std::cmp::Reverse(*instances));
        holders.into_iter().map(|(_, archive)| archive).collect()
    }

    /// The archive that holds everything of the study; an error if none does.
    pub(super) fn complete_holders(&self) -> Result<Vec<&ArchiveId>, DicomwebError> {
        let is_complete = |copy: &&ArchiveCopy| self.copies.iter().all(|other| copy.covers(other));
        match self.copies.iter().find(is_complete) {
            Some(copy) => Ok(vec![&copy.archive]),
            None if self.copies.is_empty() => Ok(Vec::new()),
            None => Err(DicomwebError::StudySplitAcrossArchives),
        }
    }

    /// An error if an archive could not be searched.
    pub(super) fn require_every_archive(&self) -> Result<(), DicomwebError> {
        self.failure.clone().map_or(Ok(()), Err)
    }

    fn has(&self, series: Option<&SeriesUid>) -> bool {
        match series {
            Some(series) => !self.holders_of(series).is_empty(),
            None => !self.copies.is_empty(),
        }
    }
}

/// Locates studies, and caches where they were found.
#[derive(Debug)]
pub(super) struct StudyLocator {
    cache: Cache,
    flights: SingleFlight<StudyUid, Arc<StudyLocation>>,
}

impl StudyLocator {
    /// A locator that caches in `cache`.
    pub(super) fn new(cache: Cache) -> Self {
        Self { cache, flights: SingleFlight::default() }
    }

    /// The archives that hold `study`. A cached location is used if it contains `series`, or without one the study: a series
    /// may have been added since.
    pub(super) async fn of(
        &self,
        study: &StudyUid,
        series: Option<&SeriesUid>,
        archives: &[Archive],
        max_scan: usize,
    ) -> Result<Arc<StudyLocation>, DicomwebError> {
        if let Some(location) = self.cached(study).filter(|location| location.has(series)) {
            return Ok(location);
        }
        let (searched, archives, searched_at) = (study.clone(), archives.to_vec(), self.cache.elapsed());
        let find = || async move { Arc::new(find(&searched, &archives, max_scan, searched_at).await) };
        let location = self.flights.run(study.clone(), find).await.map_err(|_| DicomwebError::Interrupted)?;
        if location.failure.is_none() && !location.copies.is_empty() {
            self.cache.insert(key(study), Arc::clone(&location));
        }
        Ok(location)
    }

    fn cached(&self, study: &StudyUid) -> Option<Arc<StudyLocation>> {
        let location: Arc<StudyLocation> = self.cache.get(key(study))?;
        (self.cache.age(location.searched_at) < LOCATION_LIFETIME).then_some(location)
    }
}

fn key(study: &StudyUid) -> CacheKey {
    CacheKey::of([study.as_str()])
}

async fn find(
    study: &StudyUid,
    archives: &[Archive],
    max_scan: usize,
    searched_at: Duration,
) -> StudyLocation {
    let level = SearchLevel::Series { study: study.clone() };
    let query = QidoQuery::new(level).include(&[tags::NUMBER_OF_SERIES_RELATED_INSTANCES]);
    let searches = archives.iter().map(|archive| first_rows(archive, &query, max_scan + 1, max_scan));
    let mut location = StudyLocation { copies: Vec::new(), failure: None, searched_at };
    for (archive, found) in archives.iter().zip(join_all(searches).await) {
        match found {
            Ok(found) if found.rows.len() > max_scan => {
                location.failure = Some(DicomwebError::TooCostly { limit: max_scan });
            }
            Ok(found) => {
                let series: Vec<_> = found.rows.iter().filter_map(|row| series_of(study, row)).collect();
                if !series.is_empty() {
                    location.copies.push(ArchiveCopy { archive: archive.id().clone(), series });
                }
            }
            Err(error) => location.failure = Some(error),
        }
    }
    location
}

/// The series of a row; `None` if it belongs to another study.
fn series_of(study: &StudyUid, row: &RowText) -> Option<SeriesLocation> {
    let attributes: Attributes = serde_json::from_str(&row.text).ok()?;
    let is_of_study = attributes.text(tags::STUDY_INSTANCE_UID).is_none_or(|other| other == study.as_str());
    is_of_study.then(|| SeriesLocation {
        uid: row.uid.clone(),
        instances: attributes.integer(tags::NUMBER_OF_SERIES_RELATED_INSTANCES),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{ManualClock, SharedClock};

    fn copy(archive: &str, series: &[(&str, Option<i64>)]) -> ArchiveCopy {
        let series = series
            .iter()
            .map(|(uid, instances)| SeriesLocation { uid: (*uid).into(), instances: *instances });
        ArchiveCopy { archive: ArchiveId::parse(archive).unwrap(), series: series.collect() }
    }

    fn location(copies: &[ArchiveCopy]) -> StudyLocation {
        StudyLocation { copies: copies.to_vec(), failure: None, searched_at: Duration::ZERO }
    }

    fn ids(archives: Vec<&ArchiveId>) -> Vec<&str> {
        archives.into_iter().map(ArchiveId::as_str).collect()
    }

    #[test]
    fn the_most_complete_copy_of_a_series_comes_first() {
        let location =
            location(&[copy("a", &[("1.1", Some(3))]), copy("c", &[("1.1", Some(5)), ("1.2", None)])]);
        let series = |uid| SeriesUid::parse(uid).unwrap();
        assert_eq!(ids(location.holders_of(&series("1.1"))), ["c", "a"]);
        assert_eq!(ids(location.holders_of(&series("1.2"))), ["c"]);
        assert_eq!(ids(location.holders_of(&series("1.3"))), [""; 0]);
    }

    #[test]
    fn a_study_is_retrieved_completely_or_not_at_all() {
        let whole =
            location(&[copy("a", &[("1.1", Some(3))]), copy("b", &[("1.1", Some(3)), ("1.2", Some(1))])]);
        assert_eq!(ids(whole.complete_holders().unwrap()), ["b"]);
        let copies = location(&[copy("a", &[("1.1", Some(3))]), copy("b", &[("1.1", Some(3))])]);
        assert_eq!(ids(copies.complete_holders().unwrap()), ["a"]);
        for split in [
            location(&[copy("a", &[("1.1", Some(3))]), copy("b", &[("1.2", Some(1))])]),
            location(&[copy("a", &[("1.1", Some(3)), ("1.2", Some(1))]), copy("b", &[("1.1", Some(4))])]),
        ] {
            assert!(matches!(split.complete_holders(), Err(DicomwebError::StudySplitAcrossArchives)));
        }
        assert_eq!(ids(location(&[]).complete_holders().unwrap()), [""; 0]);
    }

    #[test]
    fn a_study_is_located_again_after_a_minute() {
        let clock = Arc::new(ManualClock::default());
        let cache = Cache::new(100_000, Duration::ZERO, Arc::clone(&clock) as SharedClock);
        let locator = StudyLocator::new(cache.clone());
        let study = StudyUid::parse("1.2").unwrap();
        cache.insert(key(&study), Arc::new(location(&[copy("a", &[("1.1", Some(3))])])));
        clock.advance(Duration::from_secs(59));
        assert!(locator.cached(&study).is_some(), "regardless of the lifetime of other entries");
        clock.advance(Duration::from_secs(1));
        assert!(locator.cached(&study).is_none());
    }
}

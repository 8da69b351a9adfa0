//! Which archives hold a study: each is asked for the study's series, once, and the answer is remembered for a minute.
//!
//! An archive that cannot say is not taken for one that holds nothing: its error stands where the answer depends on it,
//! and nothing is remembered.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use crate::cache::{Cache, CacheEntry, CacheKey, SingleFlight};
use crate::dicomweb::error::DicomwebError;
use crate::dicomweb::proxy::first_rows::{RowText, first_rows};
use crate::upstream::{Archive, ArchiveId, QidoQuery, SearchLevel};
use dicom_model::{Attributes, SeriesUid, StudyUid, tags};

/// A viewer asks for the images of a study within seconds of each other; a study that is moved is found again soon.
const REMEMBERED_FOR: Duration = Duration::from_mins(1);

/// Where a study was found.
#[derive(Debug, Clone)]
pub(super) struct StudyLocation {
    copies: Vec<ArchiveCopy>,
    /// Why the answer is not that of every archive.
    failure: Option<DicomwebError>,
    /// The clock's [`elapsed`](crate::clock::Clock::elapsed) when the archives were asked.
    asked_at: Duration,
}

impl CacheEntry for StudyLocation {
    fn size(&self) -> usize {
        let series = self.copies.iter().flat_map(|copy| &copy.series);
        let of_series = series.map(|series| size_of::<SeriesLocation>() + series.uid.len()).sum::<usize>();
        self.copies.len() * size_of::<ArchiveCopy>() + of_series
    }
}

/// What one archive holds of a study.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ArchiveCopy {
    archive: ArchiveId,
    series: Vec<SeriesLocation>,
}

/// A series, with the number of its instances where the archive tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SeriesLocation {
    uid: Box<str>,
    instances: Option<i64>,
}

impl ArchiveCopy {
    fn series(&self, uid: &str) -> Option<&SeriesLocation> {
        self.series.iter().find(|series| series.uid.as_ref() == uid)
    }

    /// Whether everything that `other` holds is here too, as far as the counts tell.
    fn covers(&self, other: &Self) -> bool {
        let is_here = |series: &SeriesLocation| {
            self.series(&series.uid).is_some_and(|own| own.instances >= series.instances)
        };
        other.series.iter().all(is_here)
    }
}

impl StudyLocation {
    /// Whoever holds anything of the study, in the order of the configuration.
    pub(super) fn holders(&self) -> Vec<&ArchiveId> {
        self.copies.iter().map(|copy| &copy.archive).collect()
    }

    /// Whoever holds the series, the fullest copy first.
    pub(super) fn holders_of(&self, series: &SeriesUid) -> Vec<&ArchiveId> {
        let mut holders: Vec<_> = self
            .copies
            .iter()
            .filter_map(|copy| Some((copy.series(series.as_str())?.instances, &copy.archive)))
            .collect();
        holders.sort_by_key(|(instances, _)| std::cmp::Reverse(*instances));
        holders.into_iter().map(|(_, archive)| archive).collect()
    }

    /// Who holds all that anybody holds of the study; an error when nobody does.
    pub(super) fn holders_of_all(&self) -> Result<Vec<&ArchiveId>, DicomwebError> {
        let whole = |copy: &&ArchiveCopy| self.copies.iter().all(|other| copy.covers(other));
        match self.copies.iter().find(whole) {
            Some(copy) => Ok(vec![&copy.archive]),
            None if self.copies.is_empty() => Ok(Vec::new()),
            None => Err(DicomwebError::StudySplitAcrossArchives),
        }
    }

    /// The failure of an archive that could not say what it holds, if there is one.
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

/// Where studies were found of late.
#[derive(Debug)]
pub(super) struct StudyLocator {
    cache: Cache,
    flights: SingleFlight<StudyUid, Arc<StudyLocation>>,
}

impl StudyLocator {
    /// Remembers in `cache`.
    pub(super) fn new(cache: Cache) -> Self {
        Self { cache, flights: SingleFlight::default() }
    }

    /// Who holds `study`. What is remembered does when it knows `series`, or the study where that is all that is asked for;
    /// something new may have come since.
    pub(super) async fn of(
        &self,
        study: &StudyUid,
        series: Option<&SeriesUid>,
        archives: &[Archive],
        max_scan: usize,
    ) -> Result<Arc<StudyLocation>, DicomwebError> {
        if let Some(holding) = self.remembered(study).filter(|holding| holding.has(series)) {
            return Ok(holding);
        }
        let (wanted, archives, asked_at) = (study.clone(), archives.to_vec(), self.cache.elapsed());
        let find = || async move { Arc::new(find(&wanted, &archives, max_scan, asked_at).await) };
        let holding = self.flights.run(study.clone(), find).await.map_err(|_| DicomwebError::Interrupted)?;
        if holding.failure.is_none() && !holding.copies.is_empty() {
            self.cache.insert(key(study), Arc::clone(&holding));
        }
        Ok(holding)
    }

    fn remembered(&self, study: &StudyUid) -> Option<Arc<StudyLocation>> {
        let holding: Arc<StudyLocation> = self.cache.get(key(study))?;
        (self.cache.age(holding.asked_at) < REMEMBERED_FOR).then_some(holding)
    }
}

fn key(study: &StudyUid) -> CacheKey {
    CacheKey::of([study.as_str()])
}

async fn find(study: &StudyUid, archives: &[Archive], max_scan: usize, asked_at: Duration) -> StudyLocation {
    let level = SearchLevel::Series { study: study.clone() };
    let query = QidoQuery::new(level).include(&[tags::NUMBER_OF_SERIES_RELATED_INSTANCES]);
    let searches = archives.iter().map(|archive| first_rows(archive, &query, max_scan + 1, max_scan));
    let mut holding = StudyLocation { copies: Vec::new(), failure: None, asked_at };
    for (archive, found) in archives.iter().zip(join_all(searches).await) {
        match found {
            Ok(found) if found.rows.len() > max_scan => {
                holding.failure = Some(DicomwebError::TooCostly { limit: max_scan });
            }
            Ok(found) => {
                let series: Vec<_> = found.rows.iter().filter_map(|row| series_of(study, row)).collect();
                if !series.is_empty() {
                    holding.copies.push(ArchiveCopy { archive: archive.id().clone(), series });
                }
            }
            Err(error) => holding.failure = Some(error),
        }
    }
    holding
}

/// What a row says of a series; nothing when it is of another study.
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

    fn held(archive: &str, series: &[(&str, Option<i64>)]) -> ArchiveCopy {
        let series = series
            .iter()
            .map(|(uid, instances)| SeriesLocation { uid: (*uid).into(), instances: *instances });
        ArchiveCopy { archive: ArchiveId::parse(archive).unwrap(), series: series.collect() }
    }

    fn holding(copies: &[ArchiveCopy]) -> StudyLocation {
        StudyLocation { copies: copies.to_vec(), failure: None, asked_at: Duration::ZERO }
    }

    fn ids(archives: Vec<&ArchiveId>) -> Vec<&str> {
        archives.into_iter().map(ArchiveId::as_str).collect()
    }

    #[test]
    fn the_fullest_copy_of_a_series_is_asked_first() {
        let holding =
            holding(&[held("a", &[("1.1", Some(3))]), held("c", &[("1.1", Some(5)), ("1.2", None)])]);
        let series = |uid| SeriesUid::parse(uid).unwrap();
        assert_eq!(ids(holding.holders_of(&series("1.1"))), ["c", "a"]);
        assert_eq!(ids(holding.holders_of(&series("1.2"))), ["c"]);
        assert_eq!(ids(holding.holders_of(&series("1.3"))), [""; 0]);
    }

    #[test]
    fn a_study_is_retrieved_whole_or_not_at_all() {
        let whole =
            holding(&[held("a", &[("1.1", Some(3))]), held("b", &[("1.1", Some(3)), ("1.2", Some(1))])]);
        assert_eq!(ids(whole.holders_of_all().unwrap()), ["b"]);
        let copies = holding(&[held("a", &[("1.1", Some(3))]), held("b", &[("1.1", Some(3))])]);
        assert_eq!(ids(copies.holders_of_all().unwrap()), ["a"]);
        for spread in [
            holding(&[held("a", &[("1.1", Some(3))]), held("b", &[("1.2", Some(1))])]),
            holding(&[held("a", &[("1.1", Some(3)), ("1.2", Some(1))]), held("b", &[("1.1", Some(4))])]),
        ] {
            assert!(matches!(spread.holders_of_all(), Err(DicomwebError::StudySplitAcrossArchives)));
        }
        assert_eq!(ids(holding(&[]).holders_of_all().unwrap()), [""; 0]);
    }

    #[test]
    fn study_is_looked_for_again_after_a_minute() {
        let clock = Arc::new(ManualClock::default());
        let cache = Cache::new(100_000, Duration::ZERO, Arc::clone(&clock) as SharedClock);
        let locator = StudyLocator::new(cache.clone());
        let study = StudyUid::parse("1.2").unwrap();
        cache.insert(key(&study), Arc::new(holding(&[held("a", &[("1.1", Some(3))])])));
        clock.advance(Duration::from_secs(59));
        assert!(locator.remembered(&study).is_some(), "whatever is configured for other entries");
        clock.advance(Duration::from_secs(1));
        assert!(locator.remembered(&study).is_none());
    }
}

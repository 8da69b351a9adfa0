//! Determines which archives contain a study, and whether it is the study of one patient: searches every archive for the study and for
//! its series, at the same time.
//!
//! The location is cached for the retrieval of instances only, of which viewers request hundreds in a second. Every other request
//! locates the study again; requests of the same second share the searches.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, join_all};

use super::study_location::{ArchiveFindings, SeriesLocation, StudyLocation};
use crate::cache::{Cache, CacheKey, SingleFlight};
use crate::dicomweb::context::DicomwebContext;
use crate::dicomweb::error::DicomwebError;
use crate::dicomweb::proxy::first_rows::{FirstRows, MAX_LIST_LEN, read_reported_rows};
use crate::mapping::RowPatient;
use crate::request_priority::RequestPriority;
use crate::studies::{ListLimits, listed_patients};
use crate::upstream::{Archive, ArchiveErrorKind, QidoQuery, SearchLevel};
use dicom_model::{Attributes, SeriesUid, StudyUid, json, tags};

/// Lifetime of a cached location. A copy of another patient that appears meanwhile is detected after this time, or by the next
/// request for more than an instance.
const LOCATION_LIFETIME: Duration = Duration::from_secs(1);

/// Locates studies, and caches their locations.
#[derive(Debug, Clone)]
pub(super) struct StudyLocator {
    cache: Cache,
    /// The searches in flight, by the study, the second in which they began, and whether they may be without archives that fail.
    flights: Arc<SingleFlight<(StudyUid, u64, bool), Arc<StudyLocation>>>,
}

/// A location, and whether the archives were searched for this request.
#[derive(Debug, Clone)]
pub(super) struct Located {
    pub(super) location: Arc<StudyLocation>,
    pub(super) is_new: bool,
}

impl StudyLocator {
    /// Creates a locator that caches locations in `cache`.
    pub(super) fn new(cache: Cache) -> Self {
        Self { cache, flights: Arc::default() }
    }

    /// Returns the cached location of `study`, if it is not older than [`LOCATION_LIFETIME`] and contains `series`.
    pub(super) fn cached(&self, study: &StudyUid, series: &SeriesUid) -> Option<Located> {
        let location: Arc<StudyLocation> = self.cache.get(cache_key(study))?;
        let is_fresh = self.cache.age(location.searched_at) < LOCATION_LIFETIME;
        (is_fresh && !location.copies_with(series).is_empty()).then_some(Located { location, is_new: false })
    }

    /// Locates `study`, or waits for the location that another request of the same second began to determine. `partial_timeout` is how
    /// long an archive may take before the location is without it; `None` if every archive is required.
    pub(super) async fn locate(
        &self,
        study: &StudyUid,
        archives: &[Archive],
        partial_timeout: Option<Duration>,
        (priority, context): (&RequestPriority, &DicomwebContext),
    ) -> Result<Located, DicomwebError> {
        let mut is_new = false;
        let searched_at = self.cache.elapsed();
        let flight = (study.clone(), searched_at.as_secs(), partial_timeout.is_some());
        let search = |priority: RequestPriority| {
            is_new = true;
            let archives: Vec<_> = archives.iter().map(|archive| archive.with_priority(&priority)).collect();
            let (uid, context) = (study.clone(), context.clone());
            async move { Arc::new(search(&uid, &archives, partial_timeout, (&context, searched_at)).await) }
        };
        let location = self.flights.run(flight, priority, search).await;
        let location = location.map_err(|_| DicomwebError::Interrupted)?;
        self.store(study, &location);
        Ok(Located { location, is_new })
    }

    /// Locates `study` without sharing the searches of another request.
    pub(super) async fn locate_again(
        &self,
        study: &StudyUid,
        archives: &[Archive],
        partial_timeout: Option<Duration>,
        context: &DicomwebContext,
    ) -> Arc<StudyLocation> {
        let searched_at = self.cache.elapsed();
        let location = Arc::new(search(study, archives, partial_timeout, (context, searched_at)).await);
        self.store(study, &location);
        location
    }

    /// Caches `location` if it is certain. Otherwise removes the cached location, which is no longer valid.
    fn store(&self, study: &StudyUid, location: &Arc<StudyLocation>) {
        if location.is_certain() && !location.copies().is_empty() {
            self.cache.insert(cache_key(study), Arc::clone(location));
        } else {
            self.cache.remove::<StudyLocation>(cache_key(study));
        }
    }
}

/// Returns the key of a location in the cache.
fn cache_key(study: &StudyUid) -> CacheKey {
    CacheKey::from_parts([study.as_str()])
}

/// Searches every archive for the study and for its series.
async fn search(
    study: &StudyUid,
    archives: &[Archive],
    partial_timeout: Option<Duration>,
    (context, searched_at): (&DicomwebContext, Duration),
) -> StudyLocation {
    let searches = archives.iter().map(|archive| async move {
        let searching = search_archive(study, archive, context);
        match partial_timeout {
            Some(timeout) => tokio::time::timeout(timeout, searching).await.unwrap_or_else(|_| {
                let error = DicomwebError::from(archive.error(ArchiveErrorKind::Timeout(timeout)));
                let (series, patients) = (Err(error.clone()), Err(error));
                ArchiveFindings { series, patients_of_series: Vec::new(), patients }
            }),
            None => searching.await,
        }
    });
    let mut location = StudyLocation::new(searched_at);
    for (archive, findings) in archives.iter().zip(join_all(searches).await) {
        match partial_timeout {
            Some(_) => location.add_unless_failed(archive, findings),
            None => location.add(archive, findings),
        }
    }
    location
}

/// Searches `archive` for the study and for its series.
async fn search_archive(study: &StudyUid, archive: &Archive, context: &DicomwebContext) -> ArchiveFindings {
    let (series, patients) =
        join(search_series(study, archive, context), search_patients(study, archive, context)).await;
    let (series, patients_of_series) = match (series, &patients) {
        // An archive with a wrong URL responds with 404 to every request. To a search for series, this status alone means that the
        // archive does not contain the study.
        (Ok((series, _)), Err(error)) if series.is_empty() && error.is_wrong_url() => {
            (Err(error.clone()), Vec::new())
        }
        (Ok((series, patients)), _) => (Ok(series), patients),
        (Err(error), _) => (Err(error), Vec::new()),
    };
    ArchiveFindings { series, patients_of_series, patients }
}

/// Returns the series of `study` that `archive` lists, and the patients that their rows name, without consecutive duplicates.
async fn search_series(
    study: &StudyUid,
    archive: &Archive,
    context: &DicomwebContext,
) -> Result<(Vec<SeriesLocation>, Vec<RowPatient>), DicomwebError> {
    let level = SearchLevel::Series { study: study.clone() };
    let query = QidoQuery::new(level).include(&[tags::NUMBER_OF_SERIES_RELATED_INSTANCES]);
    let list = read_list(archive, &query, None, context.limits.max_scan).await?;
    let (mut series, mut patients): (Vec<_>, Vec<RowPatient>) = (Vec::new(), Vec::new());
    for row in &list.rows {
        let Ok(attributes) = json::parse::<Attributes>(&row.text) else { continue };
        // Some archives return rows of other studies.
        if attributes.text(tags::STUDY_INSTANCE_UID).is_some_and(|other| other != study.as_str()) {
            continue;
        }
        series.push(SeriesLocation {
            uid: row.uid.clone(),
            instance_count: attributes.integer(tags::NUMBER_OF_SERIES_RELATED_INSTANCES),
        });
        let patient = context.patients.patient_of(archive.id(), &attributes);
        if let Some(patient) = patient.filter(RowPatient::has_patient_id)
            && patients.last() != Some(&patient)
        {
            patients.push(patient);
        }
    }
    Ok((series, patients))
}

/// Returns the patients of the rows of `study` that `archive` returns.
async fn search_patients(
    study: &StudyUid,
    archive: &Archive,
    context: &DicomwebContext,
) -> Result<Vec<RowPatient>, DicomwebError> {
    // Only configured archives are searched.
    let Some(mapping) = context.patients.mapping_of(archive.id()) else { return Ok(Vec::new()) };
    let limits =
        ListLimits { max_rows: context.limits.max_scan, max_bytes: MAX_LIST_LEN, reported_count: None };
    Ok(listed_patients(archive, mapping, study, limits).await?)
}

/// Reads the whole list of `query`; an error if it has more than `max_rows` rows. `reported_count` is the number of its rows that the archive
/// reports, if it does.
pub(super) async fn read_list(
    archive: &Archive,
    query: &QidoQuery,
    reported_count: Option<usize>,
    max_rows: usize,
) -> Result<FirstRows, DicomwebError> {
    let limits = (max_rows.saturating_add(1), max_rows);
    let list = read_reported_rows(archive, query, reported_count, limits).await?;
    if list.rows.len() > max_rows { Err(DicomwebError::TooCostly { limit: max_rows }) } else { Ok(list) }
}

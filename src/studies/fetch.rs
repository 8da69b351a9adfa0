//! Fetches the series of a study and the instances of its series, from whichever source is cheapest and complete.
//!
//! `/metadata` of a series contains every attribute and is 3 to 20 times cheaper on archives that store it ready to send. On
//! others it makes the archive move pixel data, lacks the SOP Class UID, or does not exist. The other source is QIDO-RS at
//! instance level. The archive's profile or configuration says which source is used first; the other one is used if the first
//! fails or returns fewer instances than the archive itself counts. Every row is checked: archives return the whole study for a
//! request of one series, repeat rows and omit the UIDs of parents.

use std::collections::{HashMap, HashSet};

use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde_json::value::RawValue;

use crate::mapping::{self, InstanceFacts, SeriesSource};
use crate::upstream::{
    Archive, DetailSource, DicomResource, MatchValue, QidoQuery, Retrieval, RowIdentity, SearchLevel,
    UpstreamRequest,
};
use dicom_model::{Attributes, SeriesUid, StudyUid, tags};

use super::row::StudyRow;
use super::{ArchiveSource, Depth, StudiesError, scan};

/// A study as one archive describes it.
#[derive(Debug, Clone)]
pub(super) struct StudyRecord {
    /// Study- and patient-level attributes.
    pub(super) attributes: Attributes,
    /// The series, if they were requested.
    pub(super) series: Option<Vec<SeriesSource>>,
}

/// Fetches what is below `row`, down to `depth`; `series` are its series, if already known.
pub(super) async fn record(
    source: &ArchiveSource,
    row: &StudyRow,
    depth: Depth,
    series: Option<Vec<SeriesSource>>,
) -> Result<StudyRecord, StudiesError> {
    let mut record = StudyRecord { attributes: row.attributes.clone(), series: None };
    if depth == Depth::Study {
        return Ok(record);
    }
    let archive = &source.archive;
    let sources = archive.profile().detail_sources();
    let mut series = match series {
        Some(series) => series,
        None => series_of(source, row, needs_all_attributes(archive, depth)).await?,
    };
    if depth == Depth::Instances {
        let width = archive.max_concurrency();
        let fetches: Vec<_> =
            series.into_iter().map(|series| instances_of(source, row, series, &sources)).collect();
        let described: Vec<_> = stream::iter(fetches).buffered(width).try_collect().await?;
        if let Some(first) = described.iter().find_map(|(_, first)| first.as_ref()) {
            mapping::overlay_study(&mut record.attributes, first);
        }
        series = described.into_iter().map(|(series, _)| series).collect();
    }
    record.series = Some(series);
    Ok(record)
}

/// The first instance's metadata describes a series better than QIDO-RS does. If it will be read, the rows need no extra
/// attributes, for which an archive would open a file per series.
fn needs_all_attributes(archive: &Archive, depth: Depth) -> bool {
    depth == Depth::Series || archive.profile().detail != DetailSource::Metadata
}

/// The series of several studies, requested by lists of their UIDs. A study is omitted if fewer series came than the archive
/// counts, or none.
pub(super) async fn series_of_many(
    source: &ArchiveSource,
    studies: &[&StudyRow],
    depth: Depth,
) -> Result<HashMap<StudyUid, Vec<SeriesSource>>, StudiesError> {
    let mut series: HashMap<StudyUid, Vec<SeriesSource>> = HashMap::new();
    for chunk in studies.chunks(super::plan::UIDS_A_QUERY) {
        let uids: Vec<_> = chunk.iter().map(|row| row.uid.uid().clone()).collect();
        let Some(list) = MatchValue::any_of(&uids) else { continue };
        let mut query = QidoQuery::new(SearchLevel::AllSeries).matching(tags::STUDY_INSTANCE_UID, list);
        if needs_all_attributes(&source.archive, depth) {
            query = with_all_attributes(query, source);
        }
        let rows = scan::all_rows(&source.archive, &query, usize::MAX).await?;
        for row in chunk {
            let own =
                rows.iter().filter(|below| below.text(tags::STUDY_INSTANCE_UID) == Some(row.uid.as_str()));
            let own = series_in(row, own.cloned());
            let counted = row.attributes.integer(tags::NUMBER_OF_STUDY_RELATED_SERIES);
            let enough =
                counted.and_then(|count| usize::try_from(count).ok()).is_none_or(|count| own.len() >= count);
            if enough && !own.is_empty() {
                series.insert(row.uid.clone(), own);
            }
        }
    }
    Ok(series)
}

/// The series of the study that belong to the row's patient.
pub(super) async fn series_of(
    source: &ArchiveSource,
    row: &StudyRow,
    all_attributes: bool,
) -> Result<Vec<SeriesSource>, StudiesError> {
    let mut query = QidoQuery::new(SearchLevel::Series { study: row.uid.clone() });
    if all_attributes {
        query = with_all_attributes(query, source);
    }
    Ok(series_in(row, scan::all_rows(&source.archive, &query, usize::MAX).await?))
}

fn with_all_attributes(query: QidoQuery, source: &ArchiveSource) -> QidoQuery {
    query.include(mapping::series_tags()).include(mapping::series_note_tags(&source.context))
}

/// The rows that are series of the study, each once.
fn series_in(row: &StudyRow, rows: impl IntoIterator<Item = Attributes>) -> Vec<SeriesSource> {
    let mut seen = HashSet::new();
    let mut series = Vec::new();
    for attributes in rows {
        let Some(uid) = attributes.text(tags::SERIES_INSTANCE_UID).and_then(|uid| SeriesUid::parse(uid).ok())
        else {
            continue;
        };
        if row.owns(&attributes) && seen.insert(uid.clone()) {
            series.push(SeriesSource { uid, attributes, instances: None });
        }
    }
    series
}

/// The series with its instances, and the metadata of the first instance if it was read.
async fn instances_of(
    source: &ArchiveSource,
    row: &StudyRow,
    mut series: SeriesSource,
    detail_sources: &[DetailSource],
) -> Result<(SeriesSource, Option<Attributes>), StudiesError> {
    let archive = &source.archive;
    let counted = series.attributes.integer(tags::NUMBER_OF_SERIES_RELATED_INSTANCES);
    let expected = counted.and_then(|count| usize::try_from(count).ok());
    let mut best: Option<SeriesInstances> = None;
    let mut failure: Option<StudiesError> = None;
    for detail_source in detail_sources {
        let found = match detail_source {
            DetailSource::Metadata => from_metadata(archive, &row.uid, &series.uid).await,
            DetailSource::Qido => from_qido(archive, &row.uid, &series.uid).await,
        };
        match found {
            Ok(found) => {
                let complete = found.is_complete(expected);
                if best.as_ref().is_none_or(|best| found.instances.len() > best.instances.len() || complete) {
                    best = Some(found);
                }
                if complete {
                    break;
                }
            }
            Err(error) if is_about_this_request(&error) => failure = failure.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    let found = match (best, failure) {
        (Some(found), _) if expected.is_none_or(|expected| found.instances.len() >= expected) => found,
        (None, Some(error)) => return Err(error),
        _ => return Err(StudiesError::Incomplete { archive: archive.id().clone() }),
    };
    if let Some(first) = &found.first {
        mapping::overlay_series(&mut series.attributes, first);
    } else if detail_sources.first() == Some(&DetailSource::Metadata) {
        // The series' own row was requested without the attributes that metadata would have contained.
        let described = series_of(source, row, true).await?;
        if let Some(same) = described.into_iter().find(|other| other.uid == series.uid) {
            series.attributes = same.attributes;
        }
    }
    series.instances = Some(found.instances);
    Ok((series, found.first))
}

/// Whether the other source may succeed: the archive responded, but rejected this request.
fn is_about_this_request(error: &StudiesError) -> bool {
    matches!(error, StudiesError::Archive(error) if error.is_about_this_request())
}

/// The instances that one source returned for a series.
struct SeriesInstances {
    instances: Vec<InstanceFacts>,
    first: Option<Attributes>,
}

impl SeriesInstances {
    fn is_complete(&self, expected: Option<usize>) -> bool {
        !self.instances.is_empty()
            && self.instances.iter().all(|instance| instance.sop_class.is_some())
            && expected.is_none_or(|expected| self.instances.len() >= expected)
    }
}

async fn from_metadata(
    archive: &Archive,
    study: &StudyUid,
    series: &SeriesUid,
) -> Result<SeriesInstances, StudiesError> {
    let objects = DicomResource::Series(study.clone(), series.clone());
    let request = UpstreamRequest::retrieve(Retrieval::metadata(objects));
    let mut instances = UniqueInstances::of(series);
    let mut first = None;
    archive
        .rows(request, |row: Box<RawValue>| {
            let Ok(facts) = serde_json::from_str::<InstanceFacts>(row.get()) else { return };
            if instances.take(facts) && first.is_none() {
                first = serde_json::from_str::<Attributes>(row.get()).ok();
            }
        })
        .await?;
    Ok(SeriesInstances { instances: instances.facts, first })
}

async fn from_qido(
    archive: &Archive,
    study: &StudyUid,
    series: &SeriesUid,
) -> Result<SeriesInstances, StudiesError> {
    let level = SearchLevel::SeriesInstances { study: study.clone(), series: series.clone() };
    let query = QidoQuery::new(level).include(mapping::instance_tags());
    let identity = |facts: &InstanceFacts| facts.uid.as_deref().map(RowIdentity::of_uid);
    let rows = scan::all(archive, &query, INSTANCE_PAGE, usize::MAX, identity).await?;
    let mut instances = UniqueInstances::of(series);
    for facts in rows {
        instances.take(facts);
    }
    Ok(SeriesInstances { instances: instances.facts, first: None })
}

/// Instance rows are small, and an archive reads its database once per page.
const INSTANCE_PAGE: u32 = 5_000;

/// The instances of one series, each once.
struct UniqueInstances<'a> {
    series: &'a SeriesUid,
    seen: HashSet<Box<str>>,
    facts: Vec<InstanceFacts>,
}

impl<'a> UniqueInstances<'a> {
    fn of(series: &'a SeriesUid) -> Self {
        Self { series, seen: HashSet::new(), facts: Vec::new() }
    }

    /// Whether the row is a new instance of this series.
    fn take(&mut self, facts: InstanceFacts) -> bool {
        let belongs = facts.series.as_deref().is_none_or(|series| series == self.series.as_str());
        let Some(uid) = facts.uid.as_deref().filter(|_| belongs) else { return false };
        let new = self.seen.insert(uid.into());
        if new {
            self.facts.push(facts);
        }
        new
    }
}

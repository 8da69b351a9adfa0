//! Fetches the series of a study and the instances of its series, from whichever source is cheapest and complete.
//!
//! `/metadata` of a series contains every attribute and is 3 to 20 times cheaper on archives that store it ready to send. On
//! others it makes the archive move pixel data, lacks the SOP Class UID, or does not exist. The other source is QIDO-RS at
//! instance level. The archive's profile or configuration says which source is used first; the other one is used if the first
//! fails or returns fewer instances than the archive itself counts. Every row is checked: archives return the whole study for a
//! request of one series, repeat rows and omit the UIDs of parents.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde_json::value::RawValue;

use crate::mapping::{self, MappedInstance, SeriesRecord};
use crate::upstream::{
    Archive, DetailSource, DicomResource, MatchValue, QidoQuery, Retrieval, RowIdentity, SearchLevel,
    UpstreamRequest,
};
use dicom_model::{Attributes, SeriesUid, StudyUid, Uid, tags};

use super::row::StudyRow;
use super::scan::ListLimits;
use super::{ArchiveSource, Depth, StudiesError, scan};

/// A study as one archive describes it.
#[derive(Debug, Clone)]
pub(super) struct StudyRecord {
    /// Study- and patient-level attributes.
    pub(super) attributes: Attributes,
    /// The series, if they were requested.
    pub(super) series: Option<Vec<SeriesRecord>>,
    /// What the archive lists below the study and the resource cannot contain.
    pub(super) omitted: OmittedRows,
}

/// Rows below a study without a legal UID (PS3.5 9.1): no resource can contain them, and the archive counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OmittedRows {
    /// Series without a legal Series Instance UID.
    pub series: usize,
    /// Instances without a legal SOP Instance UID, in series that have a legal one.
    pub instances: usize,
}

impl OmittedRows {
    /// Whether the resource contains all that the archive lists.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The series of one study that an archive returned.
#[derive(Debug, Clone, Default)]
pub(super) struct StudySeries {
    /// Those with a legal UID that belong to the study's patient.
    pub(super) series: Vec<SeriesRecord>,
    /// The number of series without a legal UID.
    omitted: usize,
    /// The number of different series of the study, whoever is their patient.
    received: usize,
}

impl StudySeries {
    /// Whether the archive returned as many series as it counts. A study has at least one series (PS3.3 A.1.2), unless the
    /// archive counts none.
    fn is_complete(&self, row: &StudyRow) -> bool {
        let counted = row.attributes.integer(tags::NUMBER_OF_STUDY_RELATED_SERIES);
        self.received >= counted.and_then(|count| usize::try_from(count).ok()).unwrap_or(1)
    }
}

/// How much may be read below one study.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DetailLimits {
    /// Maximum number of series of a study.
    pub max_series: usize,
    /// Maximum number of instances of a study.
    pub max_instances: usize,
    /// Maximum size of one list in memory, in bytes.
    pub max_bytes: usize,
}

/// Fetches what is below `row`, down to `depth`; `series` are its series, if already known.
pub(super) async fn record(
    source: &ArchiveSource,
    row: &StudyRow,
    depth: Depth,
    series: Option<StudySeries>,
    limits: DetailLimits,
) -> Result<StudyRecord, StudiesError> {
    let omitted = OmittedRows::default();
    let mut record = StudyRecord { attributes: row.attributes.clone(), series: None, omitted };
    if depth == Depth::Study {
        return Ok(record);
    }
    let archive = &source.archive;
    let sources = archive.profile().detail_sources();
    let StudySeries { mut series, omitted, received } = match series {
        Some(series) => series,
        None => series_of(source, row, needs_all_attributes(archive, depth), limits).await?,
    };
    record.omitted.series = omitted;
    let has_other_patients = received > series.len() + omitted;
    if depth == Depth::Instances {
        let width = archive.max_concurrency();
        let budget = InstanceBudget { archive, left: AtomicUsize::new(limits.max_instances), limits };
        let fetches: Vec<_> =
            series.into_iter().map(|series| instances_of(source, row, series, &sources, &budget)).collect();
        let described: Vec<_> = stream::iter(fetches).buffered(width).try_collect().await?;
        if let Some(first) = described.iter().find_map(|found| found.first.as_ref()) {
            mapping::overlay_study(&mut record.attributes, first);
        }
        record.omitted.instances = described.iter().map(|found| found.omitted).sum();
        series = described.into_iter().map(|found| found.series).collect();
        if !has_other_patients {
            check_instance_count(archive, row, &series, record.omitted)?;
        }
    }
    record.series = Some(series);
    Ok(record)
}

/// An error if the archive counts more instances in the study than it returned. Counts of each series are compared already; this
/// is for archives that count only the study's.
fn check_instance_count(
    archive: &Archive,
    row: &StudyRow,
    series: &[SeriesRecord],
    omitted: OmittedRows,
) -> Result<(), StudiesError> {
    let is_counted =
        |series: &SeriesRecord| series.attributes.integer(tags::NUMBER_OF_SERIES_RELATED_INSTANCES).is_some();
    if omitted.series > 0 || series.iter().all(is_counted) {
        return Ok(());
    }
    let counted = row.attributes.integer(tags::NUMBER_OF_STUDY_RELATED_INSTANCES);
    let known: usize = series.iter().filter_map(|series| series.instances.as_ref()).map(Vec::len).sum();
    match counted.and_then(|count| usize::try_from(count).ok()) {
        Some(counted) if known + omitted.instances < counted => {
            Err(incomplete(archive, "instances of a study"))
        }
        _ => Ok(()),
    }
}

fn incomplete(archive: &Archive, what: &'static str) -> StudiesError {
    StudiesError::Incomplete { archive: archive.id().clone(), what }
}

fn too_many(archive: &Archive, what: &'static str, key: &'static str, limit: usize) -> StudiesError {
    StudiesError::TooMuchDetail { archive: archive.id().clone(), what, key, limit }
}

fn too_many_bytes(archive: &Archive, limit: usize) -> StudiesError {
    too_many(archive, "bytes", "search.max_scan_memory", limit)
}

/// The error of a list below a study that is longer than `limit`.
fn named(error: StudiesError, archive: &Archive, what: &'static str, key: &'static str) -> StudiesError {
    match error {
        StudiesError::TooManyRows { limit, .. } => too_many(archive, what, key, limit),
        StudiesError::TooManyBytes { limit, .. } => too_many_bytes(archive, limit),
        error => error,
    }
}

/// How many more instances of the study may be held, whichever series they are in.
struct InstanceBudget<'a> {
    archive: &'a Archive,
    left: AtomicUsize,
    limits: DetailLimits,
}

impl InstanceBudget<'_> {
    /// The number of instances that one list may have.
    fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }

    fn spend(&self, instances: usize) -> Result<(), StudiesError> {
        let spent =
            self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(instances));
        spent.map(drop).map_err(|_| self.exceeded())
    }

    fn exceeded(&self) -> StudiesError {
        too_many(self.archive, "instances", "search.max_instances", self.limits.max_instances)
    }
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
    limits: DetailLimits,
) -> Result<HashMap<StudyUid, StudySeries>, StudiesError> {
    let mut series: HashMap<StudyUid, StudySeries> = HashMap::new();
    for chunk in studies.chunks(super::plan::UIDS_PER_QUERY) {
        let uids: Vec<_> = chunk.iter().map(|row| row.uid.uid().clone()).collect();
        let Some(list) = MatchValue::any_of(&uids) else { continue };
        let mut query = QidoQuery::new(SearchLevel::AllSeries).matching(tags::STUDY_INSTANCE_UID, list);
        if needs_all_attributes(&source.archive, depth) {
            query = with_all_attributes(query, source);
        }
        let max_rows = limits.max_series.saturating_mul(chunk.len());
        let limit = ListLimits { max_rows, max_bytes: limits.max_bytes };
        let listed = scan::all_rows(&source.archive, &query, limit).await?;
        if !listed.without_uid.is_empty() {
            // They may belong to any of the studies.
            continue;
        }
        let rows = listed.rows;
        for row in chunk {
            let own =
                rows.iter().filter(|below| below.text(tags::STUDY_INSTANCE_UID) == Some(row.uid.as_str()));
            let own = series_in(row, own.cloned());
            if own.is_complete(row) && own.received > 0 && own.received <= limits.max_series {
                series.insert(row.uid.clone(), own);
            }
        }
    }
    Ok(series)
}

/// The series of the study that belong to the row's patient. Fewer than the archive counts are an error.
async fn series_of(
    source: &ArchiveSource,
    row: &StudyRow,
    all_attributes: bool,
    limits: DetailLimits,
) -> Result<StudySeries, StudiesError> {
    let archive = &source.archive;
    let mut query = QidoQuery::new(SearchLevel::Series { study: row.uid.clone() });
    if all_attributes {
        query = with_all_attributes(query, source);
    }
    let limit = ListLimits { max_rows: limits.max_series, max_bytes: limits.max_bytes };
    let rows = scan::all_rows(archive, &query, limit).await;
    let listed = rows.map_err(|error| named(error, archive, "series", "search.max_series"))?;
    let mut found = series_in(row, listed.rows);
    found.omitted += listed.without_uid.len();
    found.received += listed.without_uid.len();
    // Series of other patients only are none of this study, although the archive reports some.
    let has_none = found.received > 0 && found.series.is_empty() && found.omitted == 0;
    if found.is_complete(row) && !has_none {
        Ok(found)
    } else {
        Err(incomplete(archive, "series of a study"))
    }
}

fn with_all_attributes(query: QidoQuery, source: &ArchiveSource) -> QidoQuery {
    query.include(mapping::series_tags()).include(mapping::series_note_tags(&source.context))
}

/// The rows that are series of the study, each once.
fn series_in(row: &StudyRow, rows: impl IntoIterator<Item = Attributes>) -> StudySeries {
    let (mut received, mut seen) = (HashSet::new(), HashSet::new());
    let mut found = StudySeries::default();
    for attributes in rows.into_iter().filter(|attributes| row.is_above(attributes)) {
        let Some(text) = attributes.text(tags::SERIES_INSTANCE_UID) else { continue };
        received.insert(text.to_owned());
        if !row.owns(&attributes) || !seen.insert(text.to_owned()) {
            continue;
        }
        match SeriesUid::parse(text) {
            Ok(uid) => found.series.push(SeriesRecord { uid, attributes, instances: None }),
            Err(_) => found.omitted += 1,
        }
    }
    found.received = received.len();
    found
}

/// A series with its instances.
struct DescribedSeries {
    series: SeriesRecord,
    /// The metadata of the first instance, if they were read.
    first: Option<Attributes>,
    /// The number of instances without a legal UID.
    omitted: usize,
}

async fn instances_of(
    source: &ArchiveSource,
    row: &StudyRow,
    mut series: SeriesRecord,
    detail_sources: &[DetailSource],
    budget: &InstanceBudget<'_>,
) -> Result<DescribedSeries, StudiesError> {
    let archive = &source.archive;
    let counted = series.attributes.integer(tags::NUMBER_OF_SERIES_RELATED_INSTANCES);
    let expected = counted.and_then(|count| usize::try_from(count).ok());
    let mut best: Option<SeriesInstances> = None;
    let mut failure: Option<StudiesError> = None;
    for detail_source in detail_sources {
        let found = match detail_source {
            DetailSource::Metadata => from_metadata(&row.uid, &series.uid, budget).await,
            DetailSource::Qido => from_qido(&row.uid, &series.uid, budget).await,
        };
        match found {
            Ok(found) => {
                let complete = found.is_complete(expected);
                if best.as_ref().is_none_or(|best| found.received() > best.received() || complete) {
                    best = Some(found);
                }
                if complete {
                    break;
                }
            }
            Err(error) if is_specific_to_request(&error) => failure = failure.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    let found = match (best, failure) {
        // A series has at least one instance (PS3.3 A.1.2.3), unless the archive reports none.
        (Some(found), _) if found.received() >= expected.unwrap_or(1) => found,
        (None, Some(error)) => return Err(error),
        _ => return Err(incomplete(archive, "instances of a series")),
    };
    budget.spend(found.instances.len())?;
    if let Some(first) = &found.first {
        mapping::overlay_series(&mut series.attributes, first);
    } else if detail_sources.first() == Some(&DetailSource::Metadata) {
        // The series' own row was requested without the attributes that metadata would have contained.
        let described = series_of(source, row, true, budget.limits).await?.series;
        if let Some(same) = described.into_iter().find(|other| other.uid == series.uid) {
            series.attributes = same.attributes;
        }
    }
    series.instances = Some(found.instances);
    Ok(DescribedSeries { series, first: found.first, omitted: found.omitted })
}

/// Whether the other source may succeed: the archive responded, but rejected this request.
fn is_specific_to_request(error: &StudiesError) -> bool {
    matches!(error, StudiesError::Archive(error) if error.is_specific_to_request())
}

/// The instances that one source returned for a series.
struct SeriesInstances {
    instances: Vec<MappedInstance>,
    first: Option<Attributes>,
    /// The number of instances without a legal UID.
    omitted: usize,
}

impl SeriesInstances {
    fn received(&self) -> usize {
        self.instances.len() + self.omitted
    }

    fn is_complete(&self, expected: Option<usize>) -> bool {
        self.received() > 0
            && self.instances.iter().all(|instance| instance.sop_class.is_some())
            && expected.is_none_or(|expected| self.received() >= expected)
    }
}

async fn from_metadata(
    study: &StudyUid,
    series: &SeriesUid,
    budget: &InstanceBudget<'_>,
) -> Result<SeriesInstances, StudiesError> {
    let objects = DicomResource::Series(study.clone(), series.clone());
    let request = UpstreamRequest::retrieve(Retrieval::metadata(objects));
    let mut instances = UniqueInstances::new(series);
    let mut first = None;
    let limit = budget.left();
    budget
        .archive
        .rows_until(request, |row: Box<RawValue>| {
            let Ok(facts) = serde_json::from_str::<MappedInstance>(row.get()) else {
                return ControlFlow::Continue(());
            };
            if instances.take(facts) && first.is_none() {
                first = serde_json::from_str::<Attributes>(row.get()).ok();
            }
            if instances.received() > limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .await?;
    if instances.received() > limit {
        return Err(budget.exceeded());
    }
    Ok(SeriesInstances { omitted: instances.omitted(), instances: instances.facts, first })
}

async fn from_qido(
    study: &StudyUid,
    series: &SeriesUid,
    budget: &InstanceBudget<'_>,
) -> Result<SeriesInstances, StudiesError> {
    let level = SearchLevel::SeriesInstances { study: study.clone(), series: series.clone() };
    let query = QidoQuery::new(level).include(mapping::instance_tags());
    let identity = |facts: &MappedInstance| facts.uid.as_deref().map(RowIdentity::from_uid);
    let limit = ListLimits { max_rows: budget.left(), max_bytes: budget.limits.max_bytes };
    let rows = scan::all(budget.archive, &query, INSTANCE_PAGE, limit, MappedInstance::size, identity).await;
    let listed = rows.map_err(|error| match error {
        StudiesError::TooManyRows { .. } => budget.exceeded(),
        StudiesError::TooManyBytes { limit, .. } => too_many_bytes(budget.archive, limit),
        error => error,
    })?;
    let mut instances =
        UniqueInstances { without_uid: listed.without_uid.len(), ..UniqueInstances::new(series) };
    for facts in listed.rows {
        instances.take(facts);
    }
    Ok(SeriesInstances { omitted: instances.omitted(), instances: instances.facts, first: None })
}

/// Instance rows are small, and an archive reads its database once per page.
const INSTANCE_PAGE: u32 = 5_000;

/// The instances of one series, each once.
struct UniqueInstances<'a> {
    series: &'a SeriesUid,
    seen: HashSet<Box<str>>,
    facts: Vec<MappedInstance>,
    /// The number of rows without a UID.
    without_uid: usize,
}

impl<'a> UniqueInstances<'a> {
    fn new(series: &'a SeriesUid) -> Self {
        Self { series, seen: HashSet::new(), facts: Vec::new(), without_uid: 0 }
    }

    /// Takes a row of this series; whether it is a new instance with a legal UID.
    fn take(&mut self, facts: MappedInstance) -> bool {
        if facts.series.as_deref().is_some_and(|series| series != self.series.as_str()) {
            return false;
        }
        let Some(uid) = facts.uid.as_deref() else {
            self.without_uid += 1;
            return false;
        };
        let is_new = self.seen.insert(uid.into()) && Uid::is_legal(uid);
        if is_new {
            self.facts.push(facts);
        }
        is_new
    }

    /// The number of instances, with a legal UID or not.
    fn received(&self) -> usize {
        self.seen.len() + self.without_uid
    }

    /// The number of instances without a legal UID.
    fn omitted(&self) -> usize {
        self.seen.len() - self.facts.len() + self.without_uid
    }
}

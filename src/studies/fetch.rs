//! Fetches the detail of a study, that is, its series and their instances, from the cheapest source that is complete.
//!
//! There are two sources of instances, the detail sources. The metadata of a series contains every attribute, and is 3 to 20 times
//! cheaper at archives that store it ready to send. Other archives read every file with its pixel data to create it, omit the SOP
//! Class UID, or have no metadata. The other source is a search for instances. The profile or the configuration of the archive
//! determines which source is used first; the other one is used if the first fails or returns fewer instances than the archive
//! reports. Every row is checked, because archives return the whole study for a request for one series, return duplicates, and omit
//! the UIDs of parents.

mod instances;
mod part_patients;
mod unique_instances;

use std::collections::{HashMap, HashSet};

use futures_util::stream::{self, StreamExt, TryStreamExt};

use self::instances::{InstanceBudget, instances_of};
use self::part_patients::PartPatients;
use crate::mapping::{self, RowPatient, SeriesRecord};
use crate::upstream::{Archive, DetailSource, MatchValue, QidoQuery, SearchLevel};
use dicom_model::{Attributes, StudyUid, tags};

use super::accepted_uids::{needs_lenient_rule, parse_series_uid};
use super::row::StudyRow;
use super::scan::ListLimits;
use super::{ArchiveSource, Depth, StudiesError, scan};

/// The study record of one archive.
#[derive(Debug, Clone)]
pub(super) struct StudyRecord {
    /// Study- and patient-level attributes.
    pub(super) attributes: Attributes,
    /// The series, if they were requested.
    pub(super) series: Option<Vec<SeriesRecord>>,
    /// The counts of series and instances that the archive lists but a resource cannot contain.
    pub(super) omitted: OmittedCounts,
    /// The patient of the study: that of its row, or, if the row has no Patient ID, that of the first part that has one.
    pub(super) patient: RowPatient,
}

/// How many series and instances of a study have no UID that the archive's rule accepts. No resource can contain them, but the counts
/// of the archive include them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OmittedCounts {
    /// The number of series without an acceptable Series Instance UID.
    pub series: usize,
    /// The number of instances without an acceptable SOP Instance UID, in series with an acceptable one.
    pub instances: usize,
    /// How many of these series and instances the lenient rule would accept.
    pub with_lenient_rule: usize,
}

impl std::ops::Add for OmittedCounts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            series: self.series + other.series,
            instances: self.instances + other.instances,
            with_lenient_rule: self.with_lenient_rule + other.with_lenient_rule,
        }
    }
}

impl OmittedCounts {
    /// Whether the resource contains all series and instances that the archive lists.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The series of one study that an archive returned.
#[derive(Debug, Clone)]
pub(super) struct StudySeries {
    /// The series with an acceptable UID that belong to the patient of the study.
    pub(super) series: Vec<SeriesRecord>,
    /// How many series have no acceptable UID.
    omitted: OmittedCounts,
    /// The number of different series of the study, including those of other patients.
    received: usize,
    /// The patients that the series name.
    patients: PartPatients,
}

impl StudySeries {
    /// Whether the archive returned as many series as it reports. A study has at least one series (PS3.3 A.1.2), unless the
    /// archive reports that it has none.
    fn is_complete(&self, row: &StudyRow) -> bool {
        self.received >= row.reported_series_count().unwrap_or(1)
    }

    /// Whether all series belong to other patients, so that the series of this patient are missing.
    fn has_only_others(&self) -> bool {
        self.received > 0 && self.series.is_empty() && self.omitted.series == 0
    }

    /// Whether nothing contradicts the number of series that the archive reports: the series have as many instances as it reports for
    /// the study.
    fn agrees_with(&self, row: &StudyRow) -> bool {
        let counts = self
            .series
            .iter()
            .map(|series| series.attributes.integer(tags::NUMBER_OF_SERIES_RELATED_INSTANCES));
        let has_missing_instances = || {
            let reported_count = row.attributes.integer(tags::NUMBER_OF_STUDY_RELATED_INSTANCES)?;
            Some(counts.sum::<Option<i64>>()? < reported_count)
        };
        let has_other_series = self.received > self.series.len();
        self.is_complete(row)
            && !self.has_only_others()
            && (has_other_series || !has_missing_instances().unwrap_or(false))
    }
}

/// The limits of the series and instances of one study.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DetailLimits {
    /// Maximum number of series of a study.
    pub max_series: usize,
    /// Maximum number of instances of a study.
    pub max_instances: usize,
    /// Maximum size of one list in memory, in bytes.
    pub max_bytes: usize,
    /// Maximum number of series that are read at the same time. The concurrency of the archive limits it, too.
    pub max_parallel_series: usize,
}

/// Fetches the record of a study down to `depth`. `series` are its series, if they are already known.
pub(super) async fn record(
    source: &ArchiveSource,
    row: &StudyRow,
    depth: Depth,
    series: Option<StudySeries>,
    limits: DetailLimits,
) -> Result<StudyRecord, StudiesError> {
    let mut record = StudyRecord {
        attributes: row.attributes.clone(),
        series: None,
        omitted: OmittedCounts::default(),
        patient: RowPatient::from_row(&source.context, &row.attributes),
    };
    if depth == Depth::Study {
        return Ok(record);
    }
    let archive = &source.archive;
    let detail_sources = archive.profile().detail_sources();
    let StudySeries { mut series, omitted, received, mut patients } = match series {
        Some(series) => series,
        None => series_of(source, row, needs_all_attributes(archive, depth), limits).await?,
    };
    record.omitted = omitted;
    let mut has_other_patients = received > series.len() + omitted.series;
    if depth == Depth::Instances {
        let width = archive.max_concurrency().min(limits.max_parallel_series).max(1);
        let budget = InstanceBudget::new(archive, limits);
        let fetches: Vec<_> = series
            .into_iter()
            .map(|series| instances_of(source, row, series, (&detail_sources, &patients), &budget))
            .collect();
        let fetched: Vec<_> = stream::iter(fetches).buffered(width).try_collect().await?;
        for found in &fetched {
            has_other_patients |= found.patients.has_others();
            patients.add(found.patients.clone());
        }
        patients.require_listed(source, row, limits.max_bytes).await?;
        if let Some(first_instance) = fetched.iter().find_map(|found| found.first.as_ref()) {
            mapping::complete_study(&mut record.attributes, first_instance);
        }
        record.omitted = fetched.iter().fold(omitted, |sum, found| sum + found.omitted);
        series = fetched.into_iter().map(|found| found.series).collect();
        if !has_other_patients {
            check_instance_count(archive, row, &series, record.omitted)?;
        }
    }
    record.series = Some(series);
    record.patient = patients.patient;
    Ok(record)
}

/// Returns an error if the archive reports more instances of the study than it returned. The instance count of each series was already
/// compared; this check is for archives that report an instance count for the study but not for every series.
fn check_instance_count(
    archive: &Archive,
    row: &StudyRow,
    series: &[SeriesRecord],
    omitted: OmittedCounts,
) -> Result<(), StudiesError> {
    let has_count =
        |series: &SeriesRecord| series.attributes.integer(tags::NUMBER_OF_SERIES_RELATED_INSTANCES).is_some();
    if omitted.series > 0 || series.iter().all(has_count) {
        return Ok(());
    }
    let reported_count = row.attributes.integer(tags::NUMBER_OF_STUDY_RELATED_INSTANCES);
    let received: usize = series.iter().filter_map(|series| series.instances.as_ref()).map(Vec::len).sum();
    match reported_count.and_then(|count| usize::try_from(count).ok()) {
        Some(reported_count) if received + omitted.instances < reported_count => {
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

/// Converts the error for a list, within one study, that exceeds a limit; other errors are returned unchanged. `key` is the configuration
/// key of the maximum.
fn list_error(error: StudiesError, archive: &Archive, what: &'static str, key: &'static str) -> StudiesError {
    match error {
        StudiesError::TooManyRows { limit, .. } => too_many(archive, what, key, limit),
        StudiesError::TooManyBytes { limit, .. } => too_many_bytes(archive, limit),
        error => error,
    }
}

/// Whether rows of series must contain all attributes. They need not if metadata will be read: the metadata of the first instance is more
/// complete, and to put these attributes into rows, an archive opens a file per series.
fn needs_all_attributes(archive: &Archive, depth: Depth) -> bool {
    depth == Depth::Series || archive.profile().detail != DetailSource::Metadata
}

/// Fetches the series of several studies with searches for many Study Instance UIDs at once. The result contains only studies whose series are
/// certainly complete and within the limit; the caller fetches the others one by one, as every archive supports.
pub(super) async fn series_of_many(
    source: &ArchiveSource,
    studies: &[&StudyRow],
    depth: Depth,
    limits: DetailLimits,
) -> HashMap<StudyUid, StudySeries> {
    let mut series: HashMap<StudyUid, StudySeries> = HashMap::new();
    let chunks = studies.chunks(source.archive.profile().max_uids_per_query());
    for chunk in chunks.filter(|chunk| chunk.len() > 1) {
        let uids: Vec<_> = chunk.iter().map(|row| row.uid.uid().clone()).collect();
        let Some(list) = MatchValue::any_of(&uids) else { continue };
        let mut query = QidoQuery::new(SearchLevel::AllSeries).matching(tags::STUDY_INSTANCE_UID, list);
        if needs_all_attributes(&source.archive, depth) {
            query = with_all_attributes(query, source);
        }
        let max_rows = limits.max_series.saturating_mul(chunk.len());
        let reported_count = chunk.iter().map(|row| row.reported_series_count()).sum();
        let limit = ListLimits { max_rows, max_bytes: limits.max_bytes, reported_count };
        let list = match scan::read_list(&source.archive, &query, limit).await {
            Ok(list) => list,
            // The archive does not support the search, or fails.
            Err(StudiesError::Archive(error)) => {
                if error.is_specific_to_request() {
                    source
                        .archive
                        .contradict_findings("It rejects a search for the series of several studies.");
                }
                break;
            }
            Err(_) => continue,
        };
        if !list.without_uid.is_empty() {
            // These rows may belong to any of the studies.
            continue;
        }
        if list.rows.is_empty() {
            source.archive.contradict_findings("It finds no series of several studies.");
            break;
        }
        for row in chunk {
            let is_of_study =
                |child: &&Attributes| child.text(tags::STUDY_INSTANCE_UID) == Some(row.uid.as_str());
            let found = series_in(source, row, list.rows.iter().filter(is_of_study).cloned());
            let is_certain = found.is_complete(row) && (!list.is_ended_by_count || found.agrees_with(row));
            // A study with parts of other patients is read by itself.
            if is_certain
                && !found.patients.has_others()
                && !found.patients.may_be_mixed(row, found.received)
                && (1..=limits.max_series).contains(&found.received)
            {
                series.insert(row.uid.clone(), found);
            }
        }
    }
    series
}

/// Fetches the series of a study that belong to the patient of the row. It is an error if the archive returns fewer series of the study,
/// of all patients, than it reports, or none of this patient, or one of a patient for whom it does not list the study.
async fn series_of(
    source: &ArchiveSource,
    row: &StudyRow,
    all_attributes: bool,
    limits: DetailLimits,
) -> Result<StudySeries, StudiesError> {
    let mut query = QidoQuery::new(SearchLevel::Series { study: row.uid.clone() });
    if all_attributes {
        query = with_all_attributes(query, source);
    }
    let reported_count = row.reported_series_count();
    let (mut found, is_ended_by_count) = list_series(source, row, &query, reported_count, limits).await?;
    if is_ended_by_count && !found.agrees_with(row) {
        // The reported number is wrong, or that of another patient, so it does not show where the list ends.
        (found, _) = list_series(source, row, &query, None, limits).await?;
    }
    found.patients.require_listed(source, row, limits.max_bytes).await?;
    found.patients.require_one_patient(source, row, found.received, limits.max_bytes).await?;
    if found.is_complete(row) && !found.has_only_others() {
        Ok(found)
    } else {
        Err(incomplete(&source.archive, "series of a study"))
    }
}

/// Lists the series of a study. `reported_count` is the number at which the list is complete. The result says whether the list ended
/// there.
async fn list_series(
    source: &ArchiveSource,
    row: &StudyRow,
    query: &QidoQuery,
    reported_count: Option<usize>,
    limits: DetailLimits,
) -> Result<(StudySeries, bool), StudiesError> {
    let archive = &source.archive;
    let limit = ListLimits { max_rows: limits.max_series, max_bytes: limits.max_bytes, reported_count };
    let list = scan::read_list(archive, query, limit).await;
    let list = list.map_err(|error| list_error(error, archive, "series", "search.max_series"))?;
    let mut found = series_in(source, row, list.rows);
    found.omitted.series += list.without_uid.len();
    found.received += list.without_uid.len();
    Ok((found, list.is_ended_by_count))
}

fn with_all_attributes(query: QidoQuery, source: &ArchiveSource) -> QidoQuery {
    query.include(mapping::series_tags()).include(mapping::series_note_tags(&source.context))
}

/// Returns the series of the study among `rows`, without duplicates.
fn series_in(
    source: &ArchiveSource,
    row: &StudyRow,
    rows: impl IntoIterator<Item = Attributes>,
) -> StudySeries {
    let (mut received_uids, mut accepted_uids) = (HashSet::new(), HashSet::new());
    let patients = PartPatients::new(&source.context, row);
    let omitted = OmittedCounts::default();
    let mut found = StudySeries { series: Vec::new(), omitted, received: 0, patients };
    for attributes in rows.into_iter().filter(|attributes| row.may_contain(attributes)) {
        let Some(text) = attributes.text(tags::SERIES_INSTANCE_UID) else { continue };
        received_uids.insert(text.to_owned());
        if !found.patients.includes(&source.context, &attributes) || !accepted_uids.insert(text.to_owned()) {
            continue;
        }
        if let Some(uid) = parse_series_uid(source.archive.uid_rule(), text) {
            found.series.push(SeriesRecord { uid, attributes, instances: None });
        } else {
            found.omitted.series += 1;
            found.omitted.with_lenient_rule += usize::from(needs_lenient_rule(text));
        }
    }
    found.received = received_uids.len();
    found
}

//! The instances of one series, from its metadata or from a search, whichever of the detail sources is complete.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::value::RawValue;

use super::part_patients::PartPatients;
use super::unique_instances::UniqueInstances;
use super::{DetailLimits, OmittedCounts, incomplete, series_of, too_many, too_many_bytes};
use crate::mapping::{self, MappedInstance, SeriesRecord};
use crate::studies::row::StudyRow;
use crate::studies::scan::{self, ListLimits};
use crate::studies::{ArchiveSource, StudiesError};
use crate::upstream::{
    Archive, DetailSource, DicomResource, QidoQuery, Retrieval, RowIdentity, SearchLevel, UpstreamRequest,
};
use dicom_model::{Attributes, StudyUid, json, tags};

/// The number of further instances of the study that may be read, in all series together.
pub(super) struct InstanceBudget<'a> {
    archive: &'a Archive,
    left: AtomicUsize,
    limits: DetailLimits,
}

impl<'a> InstanceBudget<'a> {
    /// Creates the budget of one study.
    pub(super) fn new(archive: &'a Archive, limits: DetailLimits) -> Self {
        Self { archive, left: AtomicUsize::new(limits.max_instances), limits }
    }

    /// Returns the maximum number of instances in the next list.
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

/// A series with its instances.
pub(super) struct FetchedSeries {
    /// The series.
    pub(super) series: SeriesRecord,
    /// The metadata of the first instance, if metadata was read.
    pub(super) first: Option<Attributes>,
    /// How many instances have no acceptable UID.
    pub(super) omitted: OmittedCounts,
    /// The patients that the instances name.
    pub(super) patients: PartPatients,
}

/// Fetches the instances of a series from the first of `detail_sources` that returns as many as the archive reports.
pub(super) async fn instances_of(
    source: &ArchiveSource,
    row: &StudyRow,
    mut series: SeriesRecord,
    (detail_sources, patients): (&[DetailSource], &PartPatients),
    budget: &InstanceBudget<'_>,
) -> Result<FetchedSeries, StudiesError> {
    let archive = &source.archive;
    let reported_count = series.attributes.integer(tags::NUMBER_OF_SERIES_RELATED_INSTANCES);
    let reported_count = reported_count.and_then(|count| usize::try_from(count).ok());
    let mut best: Option<SeriesInstances> = None;
    let mut failure: Option<StudiesError> = None;
    for detail_source in detail_sources {
        let instances = UniqueInstances::new(source, &series.uid, patients.without_others());
        let found = match detail_source {
            DetailSource::Metadata => from_metadata(&row.uid, instances, budget).await,
            DetailSource::Qido => from_qido(&row.uid, instances, reported_count, budget).await,
        };
        match found {
            Ok(found) => {
                let is_complete = found.is_complete(reported_count);
                if best.as_ref().is_none_or(|best| found.received > best.received || is_complete) {
                    best = Some(found);
                }
                if is_complete {
                    break;
                }
            }
            Err(error) if is_specific_to_request(&error) => failure = failure.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    if let Some(found) = best.as_ref().filter(|found| found.has_only_others()) {
        found.patients.require_listed(source, row, budget.limits.max_bytes).await?;
    }
    let found = match (best, failure) {
        // A series has at least one instance (PS3.3 A.1.2.3), unless the archive reports that it has none.
        (Some(found), _) if found.received >= reported_count.unwrap_or(1) && !found.has_only_others() => {
            found
        }
        (None, Some(error)) => return Err(error),
        _ => return Err(incomplete(archive, "instances of a series")),
    };
    budget.spend(found.instances.len())?;
    if let Some(first_instance) = &found.first {
        mapping::overlay_series(&mut series.attributes, first_instance);
    } else if detail_sources.first() == Some(&DetailSource::Metadata) {
        // The row of the series was requested without the attributes that metadata would have contained.
        let all_series = series_of(source, row, true, budget.limits).await?.series;
        if let Some(same_series) = all_series.into_iter().find(|other| other.uid == series.uid) {
            series.attributes = same_series.attributes;
        }
    }
    series.instances = Some(found.instances);
    let SeriesInstances { first, omitted, patients, .. } = found;
    Ok(FetchedSeries { series, first, omitted, patients })
}

/// Whether the other source of instances may succeed, because the archive rejected only this request.
fn is_specific_to_request(error: &StudiesError) -> bool {
    matches!(error, StudiesError::Archive(error) if error.is_specific_to_request())
}

/// The instances that one source returned for a series.
struct SeriesInstances {
    instances: Vec<MappedInstance>,
    /// The metadata of the first instance, if metadata was read.
    first: Option<Attributes>,
    /// How many instances have no acceptable UID.
    omitted: OmittedCounts,
    /// The number of all instances, with an acceptable UID or not, including those of other patients.
    received: usize,
    patients: PartPatients,
}

impl SeriesInstances {
    fn new(found: UniqueInstances<'_>, first: Option<Attributes>) -> Self {
        let (omitted, received) = (found.omitted(), found.received());
        Self { instances: found.instances, first, omitted, received, patients: found.patients }
    }

    /// Whether all instances are those of other patients, so that the instances of this patient are missing.
    fn has_only_others(&self) -> bool {
        self.patients.has_others() && self.instances.is_empty() && self.omitted.instances == 0
    }

    /// Whether there are as many instances as the archive reports, at least one, and each has a SOP Class UID.
    fn is_complete(&self, reported_count: Option<usize>) -> bool {
        self.received > 0
            && self.instances.iter().all(|instance| instance.sop_class.is_some())
            && reported_count.is_none_or(|reported_count| self.received >= reported_count)
    }
}

/// Fetches the instances of a series from its metadata.
async fn from_metadata(
    study: &StudyUid,
    mut instances: UniqueInstances<'_>,
    budget: &InstanceBudget<'_>,
) -> Result<SeriesInstances, StudiesError> {
    let objects = DicomResource::Series(study.clone(), instances.series.clone());
    let request = UpstreamRequest::retrieve(Retrieval::metadata(objects));
    let mut first = None;
    let limit = budget.left();
    budget
        .archive
        .read_rows_until(request, |row: Box<RawValue>| {
            let Ok(instance) = json::parse::<MappedInstance>(row.get()) else {
                return ControlFlow::Continue(());
            };
            if instances.add(instance) && first.is_none() {
                first = json::parse::<Attributes>(row.get()).ok();
            }
            if instances.received() > limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .await?;
    if instances.received() > limit {
        return Err(budget.exceeded());
    }
    Ok(SeriesInstances::new(instances, first))
}

/// Fetches the instances of a series by a search.
async fn from_qido(
    study: &StudyUid,
    mut instances: UniqueInstances<'_>,
    reported_count: Option<usize>,
    budget: &InstanceBudget<'_>,
) -> Result<SeriesInstances, StudiesError> {
    let level = SearchLevel::SeriesInstances { study: study.clone(), series: instances.series.clone() };
    let query = QidoQuery::new(level).include(mapping::instance_tags());
    let identity = |instance: &MappedInstance| {
        let uid = instance.uid.as_deref()?;
        Some(RowIdentity::of_instance(uid, instance.series.as_deref(), &instance.patient))
    };
    let limit = ListLimits { max_rows: budget.left(), max_bytes: budget.limits.max_bytes, reported_count };
    let archive = budget.archive;
    let list =
        scan::read_list_of(archive, &query, INSTANCE_PAGE_SIZE, limit, MappedInstance::size, identity).await;
    let list = list.map_err(|error| match error {
        StudiesError::TooManyRows { .. } => budget.exceeded(),
        StudiesError::TooManyBytes { limit, .. } => too_many_bytes(budget.archive, limit),
        error => error,
    })?;
    for instance in list.rows.into_iter().chain(list.without_uid) {
        instances.add(instance);
    }
    Ok(SeriesInstances::new(instances, None))
}

/// The number of rows of instances in one page. The rows are small, and an archive reads its database once per page.
const INSTANCE_PAGE_SIZE: u32 = 5_000;

//! Adds modalities and counts that rows of a search lack (PS3.18 tables 10.6.3-3 and 10.6.3-4), from further searches:
//! modalities and counts of studies, counts of series.
//!
//! At most [`DicomwebLimits::max_opened`] studies and series are searched for one response, with the maximum concurrency of the
//! archive. The order and the values of rows do not change. A count that cannot be determined is omitted: that of a study whose
//! UID belongs to two patients, and of a study or series in which the archive finds no objects.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::row::{Element, add_missing, has_value};
use crate::dicomweb::error::DicomwebError;
use crate::dicomweb::limits::DicomwebLimits;
use crate::dicomweb::proxy::first_rows::read_first_rows;
use crate::dicomweb::request::computed_attributes::computed_attributes;
use crate::upstream::{Archive, QidoQuery, SearchLevel};
use dicom_model::{Attributes, SeriesUid, StudyUid, Tag, UidRule, json, tags};

/// A study or a series whose objects are counted.
type Parent = (StudyUid, Option<SeriesUid>);

/// Completes `rows`, which `archive` returned for a search at `level`.
pub(super) async fn complete(
    rows: Vec<(Bytes, Attributes)>,
    archive: &Archive,
    limits: DicomwebLimits,
    level: &SearchLevel,
) -> Result<Vec<Bytes>, DicomwebError> {
    let incomplete = find_incomplete(&rows, level, archive.uid_rule());
    let counter = Counter { archive, limits, search_count: AtomicUsize::new(0) };
    if incomplete.len() > limits.max_opened {
        return Err(counter.too_many_queries());
    }
    let elements_by_parent: BTreeMap<Parent, Vec<Element>> = stream::iter(incomplete)
        .map(|parent| async {
            let elements = counter.elements(&parent).await?;
            Ok::<_, DicomwebError>((parent, elements))
        })
        .buffer_unordered(archive.max_concurrency())
        .try_collect()
        .await?;
    let complete = |(row, attributes): (Bytes, Attributes)| {
        let elements = parent_of(&attributes, level, archive.uid_rule())
            .and_then(|parent| elements_by_parent.get(&parent));
        elements.map_or_else(|| row.clone(), |elements| add_missing(row.clone(), &attributes, elements))
    };
    Ok(rows.into_iter().map(complete).collect())
}

/// Returns the studies or series that must be searched to complete `rows` of an archive with `rule`.
fn find_incomplete(rows: &[(Bytes, Attributes)], level: &SearchLevel, rule: UidRule) -> BTreeSet<Parent> {
    let mut patients: BTreeMap<Parent, BTreeSet<&str>> = BTreeMap::new();
    for (_, attributes) in rows {
        if let Some(parent) = parent_of(attributes, level, rule) {
            patients.entry(parent).or_default().insert(attributes.text(tags::PATIENT_ID).unwrap_or_default());
        }
    }
    let is_incomplete =
        |attributes: &Attributes| computed_attributes(level).iter().any(|tag| !has_value(attributes, *tag));
    let parents = rows.iter().filter(|(_, attributes)| is_incomplete(attributes));
    let parents = parents.filter_map(|(_, attributes)| parent_of(attributes, level, rule));
    parents.filter(|parent| patients.get(parent).is_some_and(|patients| patients.len() == 1)).collect()
}

/// Returns the study or series of a row of an archive with `rule`; `None` if the row does not identify it.
fn parent_of(attributes: &Attributes, level: &SearchLevel, rule: UidRule) -> Option<Parent> {
    let study = || StudyUid::parse_by(rule, attributes.text(tags::STUDY_INSTANCE_UID)?).ok();
    let series = || SeriesUid::parse_by(rule, attributes.text(tags::SERIES_INSTANCE_UID)?).ok();
    match level {
        SearchLevel::Studies => Some((study()?, None)),
        SearchLevel::Series { study } => Some((study.clone(), Some(series()?))),
        SearchLevel::AllSeries => Some((study()?, Some(series()?))),
        SearchLevel::Instances { .. } | SearchLevel::SeriesInstances { .. } | SearchLevel::AllInstances => {
            None
        }
    }
}

/// Counts the objects of studies and series by searches.
struct Counter<'a> {
    archive: &'a Archive,
    limits: DicomwebLimits,
    /// The number of searches so far.
    search_count: AtomicUsize,
}

impl Counter<'_> {
    fn too_many_queries(&self) -> DicomwebError {
        DicomwebError::TooManyCountQueries { limit: self.limits.max_opened }
    }

    async fn elements(&self, (study, series): &Parent) -> Result<Vec<Element>, DicomwebError> {
        match series {
            Some(series) => {
                let instances = self.count_instances(study, series).await?;
                let element = |count| count_element(tags::NUMBER_OF_SERIES_RELATED_INSTANCES, count);
                Ok(instances.map(element).into_iter().collect())
            }
            None => self.study_elements(study).await,
        }
    }

    async fn study_elements(&self, study: &StudyUid) -> Result<Vec<Element>, DicomwebError> {
        let level = SearchLevel::Series { study: study.clone() };
        let include = [tags::MODALITY, tags::NUMBER_OF_SERIES_RELATED_INSTANCES];
        let rows = self.search(QidoQuery::new(level).include(&include)).await?;
        let mut modalities: Vec<String> = Vec::new();
        let mut instances: BTreeMap<SeriesUid, Option<usize>> = BTreeMap::new();
        for attributes in rows {
            let rule = self.archive.uid_rule();
            let uid = attributes.text(tags::SERIES_INSTANCE_UID);
            let uid = uid.and_then(|uid| SeriesUid::parse_by(rule, uid).ok());
            let Some(uid) = uid else { continue };
            if let Some(modality) =
                attributes.text(tags::MODALITY).map(|text| serde_json::Value::from(text).to_string())
                && !modalities.contains(&modality)
            {
                modalities.push(modality);
            }
            let count = attributes.integer(tags::NUMBER_OF_SERIES_RELATED_INSTANCES);
            instances.insert(uid, count.and_then(|count| usize::try_from(count).ok()));
        }
        let mut elements = Vec::new();
        if !modalities.is_empty() {
            elements.push(Element::new(tags::MODALITIES_IN_STUDY, "CS", &modalities));
        }
        if !instances.is_empty() {
            elements.push(count_element(tags::NUMBER_OF_STUDY_RELATED_SERIES, instances.len()));
            if let Some(total) = self.count_study_instances(study, &instances).await? {
                elements.push(count_element(tags::NUMBER_OF_STUDY_RELATED_INSTANCES, total));
            }
        }
        Ok(elements)
    }

    /// Returns the number of instances of all series together; `None` if that of one series cannot be determined.
    async fn count_study_instances(
        &self,
        study: &StudyUid,
        instances: &BTreeMap<SeriesUid, Option<usize>>,
    ) -> Result<Option<usize>, DicomwebError> {
        let mut total = 0;
        for (series, count) in instances {
            let count = match count {
                Some(count) => Some(*count),
                None => self.count_instances(study, series).await?,
            };
            let Some(count) = count else { return Ok(None) };
            total += count;
        }
        Ok(Some(total))
    }

    /// Returns the number of instances of a series; `None` if the archive finds none, because no series is empty.
    async fn count_instances(
        &self,
        study: &StudyUid,
        series: &SeriesUid,
    ) -> Result<Option<usize>, DicomwebError> {
        let level = SearchLevel::SeriesInstances { study: study.clone(), series: series.clone() };
        let rows = self.search(QidoQuery::new(level)).await?;
        let uids: BTreeSet<_> = rows.iter().filter_map(|row| row.text(tags::SOP_INSTANCE_UID)).collect();
        Ok((!uids.is_empty()).then_some(uids.len()))
    }

    /// Reads all rows of `query`.
    async fn search(&self, query: QidoQuery) -> Result<Vec<Attributes>, DicomwebError> {
        if self.search_count.fetch_add(1, Ordering::Relaxed) >= self.limits.max_opened {
            return Err(self.too_many_queries());
        }
        let max_scan = self.limits.max_scan;
        let list = read_first_rows(self.archive, &query, max_scan + 1, max_scan).await?;
        if list.rows.len() > max_scan || list.has_more {
            return Err(DicomwebError::TooCostly { limit: max_scan });
        }
        Ok(list.rows.iter().filter_map(|row| json::parse(&row.text).ok()).collect())
    }
}

fn count_element(tag: Tag, count: usize) -> Element {
    Element::new(tag, "IS", &[count.to_string()])
}

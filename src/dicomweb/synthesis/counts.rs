//! Adds the modalities and counts that rows of a search lack (PS3.18 tables 10.6.3-3 and 10.6.3-4), out of further searches: modalities
//! and counts of studies, counts of series.
//!
//! At most [`DicomwebLimits::max_opened`] studies and series are searched for one answer, as many at once as the archive bears. Rows
//! keep their order, and what they tell themselves stays. A number that cannot be found out is left out as it was: that of a
//! study whose UID belongs to two patients, and of a study or series in which the archive finds nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::row::{Element, completed, has};
use crate::dicomweb::error::DicomwebError;
use crate::dicomweb::limits::DicomwebLimits;
use crate::dicomweb::proxy::first_rows::first_rows;
use crate::dicomweb::request::computed_attributes::computed;
use crate::upstream::{Archive, QidoQuery, SearchLevel};
use dicom_model::{Attributes, SeriesUid, StudyUid, Tag, tags};

/// A study, or a series of one.
type Opened = (StudyUid, Option<SeriesUid>);

/// Completes `rows`, which `archive` gave for a search at `level`.
pub(super) async fn put_into(
    rows: Vec<(Bytes, Attributes)>,
    archive: &Archive,
    limits: DicomwebLimits,
    level: &SearchLevel,
) -> Result<Vec<Bytes>, DicomwebError> {
    let lacking = lacking(&rows, level);
    let counter = Counter { archive, limits, opened: AtomicUsize::new(0) };
    if lacking.len() > limits.max_opened {
        return Err(counter.too_many());
    }
    let counted: BTreeMap<Opened, Vec<Element>> = stream::iter(lacking)
        .map(|opened| async {
            let elements = counter.elements(&opened).await?;
            Ok::<_, DicomwebError>((opened, elements))
        })
        .buffer_unordered(archive.max_concurrency())
        .try_collect()
        .await?;
    let complete = |(row, attributes): (Bytes, Attributes)| {
        let elements = opened_by(&attributes, level).and_then(|opened| counted.get(&opened));
        elements.map_or_else(|| row.clone(), |elements| completed(row.clone(), &attributes, elements))
    };
    Ok(rows.into_iter().map(complete).collect())
}

/// What has to be opened to complete `rows`.
fn lacking(rows: &[(Bytes, Attributes)], level: &SearchLevel) -> BTreeSet<Opened> {
    let mut patients: BTreeMap<Opened, BTreeSet<&str>> = BTreeMap::new();
    for (_, attributes) in rows {
        if let Some(opened) = opened_by(attributes, level) {
            patients.entry(opened).or_default().insert(attributes.text(tags::PATIENT_ID).unwrap_or_default());
        }
    }
    let lacks = |attributes: &Attributes| computed(level).iter().any(|tag| !has(attributes, *tag));
    let opened = rows.iter().filter(|(_, attributes)| lacks(attributes));
    let opened = opened.filter_map(|(_, attributes)| opened_by(attributes, level));
    opened.filter(|opened| patients.get(opened).is_some_and(|patients| patients.len() == 1)).collect()
}

/// What a row is about; nothing when it does not tell.
fn opened_by(attributes: &Attributes, level: &SearchLevel) -> Option<Opened> {
    let study = || StudyUid::parse(attributes.text(tags::STUDY_INSTANCE_UID)?).ok();
    let series = || SeriesUid::parse(attributes.text(tags::SERIES_INSTANCE_UID)?).ok();
    match level {
        SearchLevel::Studies => Some((study()?, None)),
        SearchLevel::Series { study } => Some((study.clone(), Some(series()?))),
        SearchLevel::AllSeries => Some((study()?, Some(series()?))),
        SearchLevel::Instances { .. } | SearchLevel::SeriesInstances { .. } | SearchLevel::AllInstances => {
            None
        }
    }
}

/// Searches below studies and series.
struct Counter<'a> {
    archive: &'a Archive,
    limits: DicomwebLimits,
    opened: AtomicUsize,
}

impl Counter<'_> {
    fn too_many(&self) -> DicomwebError {
        DicomwebError::TooManyOpened { limit: self.limits.max_opened }
    }

    async fn elements(&self, (study, series): &Opened) -> Result<Vec<Element>, DicomwebError> {
        match series {
            Some(series) => {
                let instances = self.instances(study, series).await?;
                let element = |count| number(tags::NUMBER_OF_SERIES_RELATED_INSTANCES, count);
                Ok(instances.map(element).into_iter().collect())
            }
            None => self.of_study(study).await,
        }
    }

    async fn of_study(&self, study: &StudyUid) -> Result<Vec<Element>, DicomwebError> {
        let level = SearchLevel::Series { study: study.clone() };
        let asked = [tags::MODALITY, tags::NUMBER_OF_SERIES_RELATED_INSTANCES];
        let found = self.below(QidoQuery::new(level).include(&asked)).await?;
        let mut modalities: Vec<String> = Vec::new();
        let mut instances: BTreeMap<SeriesUid, Option<usize>> = BTreeMap::new();
        for attributes in found {
            let uid = attributes.text(tags::SERIES_INSTANCE_UID).and_then(|uid| SeriesUid::parse(uid).ok());
            let is_of_study =
                attributes.text(tags::STUDY_INSTANCE_UID).is_none_or(|told| told == study.as_str());
            let Some(uid) = uid.filter(|_| is_of_study) else { continue };
            if let Some(modality) =
                attributes.text(tags::MODALITY).map(|text| serde_json::Value::from(text).to_string())
                && !modalities.contains(&modality)
            {
                modalities.push(modality);
            }
            let told = attributes.integer(tags::NUMBER_OF_SERIES_RELATED_INSTANCES);
            instances.insert(uid, told.and_then(|told| usize::try_from(told).ok()));
        }
        let mut elements = Vec::new();
        if !modalities.is_empty() {
            elements.push(Element::new(tags::MODALITIES_IN_STUDY, "CS", &modalities));
        }
        if !instances.is_empty() {
            elements.push(number(tags::NUMBER_OF_STUDY_RELATED_SERIES, instances.len()));
            if let Some(total) = self.total(study, &instances).await? {
                elements.push(number(tags::NUMBER_OF_STUDY_RELATED_INSTANCES, total));
            }
        }
        Ok(elements)
    }

    /// How many instances those series have together; `None` when that of one cannot be found out.
    async fn total(
        &self,
        study: &StudyUid,
        instances: &BTreeMap<SeriesUid, Option<usize>>,
    ) -> Result<Option<usize>, DicomwebError> {
        let mut total = 0;
        for (series, told) in instances {
            let counted = match told {
                Some(told) => Some(*told),
                None => self.instances(study, series).await?,
            };
            let Some(count) = counted else { return Ok(None) };
            total += count;
        }
        Ok(Some(total))
    }

    /// How many instances a series has; `None` when the archive finds none, as a series has some.
    async fn instances(&self, study: &StudyUid, series: &SeriesUid) -> Result<Option<usize>, DicomwebError> {
        let level = SearchLevel::SeriesInstances { study: study.clone(), series: series.clone() };
        let found = self.below(QidoQuery::new(level)).await?;
        let is_among = |attributes: &&Attributes| {
            attributes.text(tags::SERIES_INSTANCE_UID).is_none_or(|told| told == series.as_str())
        };
        let uids: BTreeSet<_> =
            found.iter().filter(is_among).filter_map(|one| one.text(tags::SOP_INSTANCE_UID)).collect();
        Ok((!uids.is_empty()).then_some(uids.len()))
    }

    /// What is found below one study or series.
    async fn below(&self, query: QidoQuery) -> Result<Vec<Attributes>, DicomwebError> {
        if self.opened.fetch_add(1, Ordering::Relaxed) >= self.limits.max_opened {
            return Err(self.too_many());
        }
        let most = self.limits.max_scan;
        let found = first_rows(self.archive, &query, most + 1, most).await?;
        if found.rows.len() > most || found.more {
            return Err(DicomwebError::TooCostly { limit: most });
        }
        Ok(found.rows.iter().filter_map(|row| serde_json::from_str(&row.text).ok()).collect())
    }
}

fn number(tag: Tag, number: usize) -> Element {
    Element::new(tag, "IS", &[number.to_string()])
}

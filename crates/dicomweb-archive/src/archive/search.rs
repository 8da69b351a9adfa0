//! QIDO-RS (PS3.18 10.6): finds the studies, series or instances that match a query, and writes a row for each of them. This module
//! does not parse queries.

use super::body;
use super::index::{Index, Instance, Series, Study};
use super::levels::{self, Level};
use super::matching::Condition;
use super::query::{Match, Query, is_computed};
use super::route::Scope;
use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use dicom_model::data_set::{DataElement, DataSet, DataValue};
use dicom_model::json::writer::{self, BulkDataLinks, Step};
use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::io;

/// A result, as positions in the index. At the study and series levels the positions of lower levels are those of the first series
/// and instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SearchResult {
    level: Level,
    study: usize,
    series: usize,
    instance: usize,
}

/// The results of a search: the requested page, and the number of results after it.
#[derive(Debug)]
pub(super) struct SearchResults {
    /// The results of the page.
    pub page: Vec<SearchResult>,
    /// Number of results after the page.
    pub remaining: usize,
}

/// Finds the results of `query` in `scope`. Blocks: it reads files if the query contains attributes that the index does
/// not store.
pub(super) fn find(index: &Index, level: Level, scope: &Scope, query: &Query) -> SearchResults {
    let mut page = Vec::new();
    let mut result_count = 0;
    let page_range = query.offset..query.limit.map_or(usize::MAX, |limit| query.offset.saturating_add(limit));
    for result in candidates(index, level, scope) {
        if Row::new(index, result, query).matches(query) {
            if page_range.contains(&result_count) {
                page.push(result);
            }
            result_count += 1;
        }
    }
    SearchResults { page, remaining: result_count.saturating_sub(page_range.end.max(page_range.start)) }
}

/// Writes the row of a result as a JSON object.
pub(super) fn write_row(
    output: &mut Vec<u8>,
    index: &Index,
    result: SearchResult,
    scope: &Scope,
    query: &Query,
    base: &str,
) -> io::Result<()> {
    let row = Row::new(index, result, query);
    writer::write_data_set(output, &row.data_set(scope, query, base), &WithoutBulkData)
}

fn candidates<'a>(
    index: &'a Index,
    level: Level,
    scope: &'a Scope,
) -> impl Iterator<Item = SearchResult> + 'a {
    let studies: Box<dyn Iterator<Item = usize>> = match &scope.study {
        Some(uid) => Box::new(index.positions(uid).iter().copied()),
        None => Box::new(0..index.studies().len()),
    };
    studies.flat_map(move |study| {
        let all_series = &index.studies()[study].series;
        let series = all_series
            .iter()
            .enumerate()
            .filter(|(_, series)| scope.series.as_ref().is_none_or(|uid| *uid == series.uid));
        let series = series.take(if level == Level::Study { 1 } else { usize::MAX });
        series.flat_map(move |(position, series)| {
            let instance_count = if level == Level::Instance { series.instances.len() } else { 1 };
            (0..instance_count).map(move |instance| SearchResult { level, study, series: position, instance })
        })
    })
}

/// A result with its attributes.
struct Row<'a> {
    level: Level,
    study: &'a Study,
    series: &'a Series,
    instance: &'a Instance,
    query: &'a Query,
    /// The attributes that only the file contains; read on demand.
    file_attributes: OnceCell<DataSet>,
}

impl<'a> Row<'a> {
    fn new(index: &'a Index, result: SearchResult, query: &'a Query) -> Self {
        let study = &index.studies()[result.study];
        let series = &study.series[result.series];
        let instance = &series.instances[result.instance];
        Self { level: result.level, study, series, instance, query, file_attributes: OnceCell::new() }
    }

    fn matches(&self, query: &Query) -> bool {
        query.matches.iter().all(|condition| self.meets(condition))
    }

    fn meets(&self, Match { path, condition }: &Match) -> bool {
        let Some((first, inner)) = path.split_first() else { return true };
        if *condition == Condition::Universal {
            return true;
        }
        if is_computed(*first) {
            return condition.accepts(self.computed_element(*first, "").as_ref());
        }
        let is_met = |data: &DataSet| accepts(condition, data, *first, inner);
        match levels::level_of(*first) {
            Some(Level::Study) => is_met(&self.study.attributes),
            Some(Level::Series) if self.level == Level::Study => {
                self.study.series.iter().any(|series| is_met(&series.attributes))
            }
            Some(Level::Series) => is_met(&self.series.attributes),
            // A key of a lower level matches if any series or instance of the result matches (relational matching).
            Some(Level::Instance) => match self.level {
                Level::Study => self
                    .study
                    .series
                    .iter()
                    .flat_map(|series| &series.instances)
                    .any(|instance| is_met(&instance.attributes)),
                Level::Series => self.series.instances.iter().any(|instance| is_met(&instance.attributes)),
                Level::Instance => is_met(&self.instance.attributes),
            },
            None => is_met(self.file_attributes()),
        }
    }

    /// Returns the attributes that only the file contains; for a study or series, its first file. Empty if the file was deleted
    /// after indexing.
    fn file_attributes(&self) -> &DataSet {
        self.file_attributes.get_or_init(|| {
            let is_requested =
                |tag| self.query.include_all || (levels::level_of(tag).is_none() && self.query.contains(tag));
            body::read_header(&self.instance.path, |tag| {
                is_requested(tag) || tag == tags::SPECIFIC_CHARACTER_SET
            })
            .map(|header| header.data)
            .unwrap_or_default()
        })
    }

    fn data_set(&self, scope: &Scope, query: &Query, base: &str) -> DataSet {
        let mut data_set = DataSet::default();
        if query.include_all {
            let file = (self.level == Level::Instance).then(|| self.file_attributes());
            let stored = [
                (Level::Study, &self.study.attributes),
                (Level::Series, &self.series.attributes),
                (Level::Instance, &self.instance.attributes),
            ];
            let stored = stored.into_iter().filter(|(level, _)| *level <= self.level).map(|(_, data)| data);
            for (tag, element) in stored.chain(file).flat_map(DataSet::iter) {
                if !matches!(element.value, DataValue::Bulk(_)) {
                    data_set.insert(tag, element.clone());
                }
            }
        }
        for tag in self
            .returned_levels(scope)
            .flat_map(levels::default_attributes)
            .copied()
            .chain(query.attributes())
        {
            if let Some(element) = self.element(tag, base) {
                data_set.insert(tag, element);
            }
        }
        data_set.insert(tags::SPECIFIC_CHARACTER_SET, DataElement::text(VR::CS, "ISO_IR 192"));
        data_set
    }

    /// Returns the level of the search, and the higher levels that the path does not specify (PS3.18 10.6.3.3).
    fn returned_levels(&self, scope: &Scope) -> impl Iterator<Item = Level> {
        let returns_study = self.level == Level::Study || scope.study.is_none();
        let returns_series =
            self.level == Level::Series || (self.level == Level::Instance && scope.series.is_none());
        [
            (returns_study, Level::Study),
            (returns_series, Level::Series),
            (self.level == Level::Instance, Level::Instance),
        ]
        .into_iter()
        .filter_map(|(is_returned, level)| is_returned.then_some(level))
    }

    fn element(&self, tag: Tag, base: &str) -> Option<DataElement> {
        if is_computed(tag) {
            return self.computed_element(tag, base);
        }
        let element = match levels::level_of(tag) {
            // An attribute of a lower level has no single value at this level.
            Some(level) if level > self.level => None,
            Some(Level::Study) => self.study.attributes.get(tag),
            Some(Level::Series) => self.series.attributes.get(tag),
            Some(Level::Instance) => self.instance.attributes.get(tag),
            None => self.file_attributes().get(tag),
        };
        element.filter(|element| !matches!(element.value, DataValue::Bulk(_))).cloned()
    }

    fn computed_element(&self, tag: Tag, base: &str) -> Option<DataElement> {
        let study = self.study;
        let count = |count: usize| DataElement::text(VR::IS, &count.to_string());
        Some(match tag {
            tags::MODALITIES_IN_STUDY => distinct_values(
                VR::CS,
                study.series.iter().filter_map(|series| series.attributes.text(tags::MODALITY)),
            ),
            tags::SOP_CLASSES_IN_STUDY => {
                let instances = study.series.iter().flat_map(|series| &series.instances);
                distinct_values(
                    VR::UI,
                    instances.filter_map(|instance| instance.attributes.text(tags::SOP_CLASS_UID)),
                )
            }
            tags::NUMBER_OF_STUDY_RELATED_SERIES => count(study.series.len()),
            tags::NUMBER_OF_STUDY_RELATED_INSTANCES => {
                count(study.series.iter().map(|series| series.instances.len()).sum())
            }
            tags::INSTANCE_AVAILABILITY => DataElement::text(VR::CS, "ONLINE"),
            tags::NUMBER_OF_SERIES_RELATED_INSTANCES if self.level > Level::Study => {
                count(self.series.instances.len())
            }
            tags::AVAILABLE_TRANSFER_SYNTAX_UID if self.level == Level::Instance => {
                DataElement::text(VR::UI, self.instance.transfer_syntax)
            }
            tags::RETRIEVE_URL => DataElement::text(VR::UR, &self.retrieve_url(base)),
            _ => return None,
        })
    }

    fn retrieve_url(&self, base: &str) -> String {
        let (study, series, instance) = (&self.study.uid, &self.series.uid, &self.instance.uid);
        match self.level {
            Level::Study => format!("{base}/studies/{study}"),
            Level::Series => format!("{base}/studies/{study}/series/{series}"),
            Level::Instance => format!("{base}/studies/{study}/series/{series}/instances/{instance}"),
        }
    }
}

/// Whether the attribute at the end of the path matches the condition in any item of the sequences.
fn accepts(condition: &Condition, data: &DataSet, tag: Tag, inner: &[Tag]) -> bool {
    match inner.split_first() {
        None => condition.accepts(data.get(tag)),
        Some((next, inner)) => data.items(tag).iter().any(|item| accepts(condition, item, *next, inner)),
    }
}

fn distinct_values<'a>(vr: VR, values: impl Iterator<Item = &'a str>) -> DataElement {
    let values: BTreeSet<&str> = values.collect();
    DataElement { vr, value: DataValue::Text(values.into_iter().map(Into::into).collect()) }
}

/// The links of rows, which contain no bulk data.
struct WithoutBulkData;

impl BulkDataLinks for WithoutBulkData {
    fn link(&self, _: &[Step]) -> String {
        String::new()
    }
}

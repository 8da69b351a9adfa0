//! Merges the resources of one study from several archives into one ImagingStudy: the union of its series and instances by UID.
//!
//! The archives may contain the same objects, or different parts of the study. The result has the identifiers and codes of all
//! archives; other elements are those of the first archive that has them, and a tag reports that the others differ. An Endpoint of the study serves the whole study; if no
//! archive contains the whole study, each series has the Endpoints that serve it (R4
//! imagingstudy-definitions.html#ImagingStudy.series.endpoint). This module does not know which archives are queried.

use std::collections::HashSet;

use super::differences::Differences;
use super::{MappingContext, study};
use fhir_r4::types::{ImagingStudy, Reference, Series};

/// Merges `studies`, the resources of one study from several archives in the order of the configuration, each with the Endpoint of
/// its archive. They must have the same depth. `context` is that of the first archive. Returns `None` if `studies` is
/// empty.
pub fn merge_studies(context: &MappingContext, studies: Vec<ImagingStudy>) -> Option<ImagingStudy> {
    let parts: Vec<StudyPart> = studies.iter().map(StudyPart::new).collect();
    let mut studies = studies.into_iter();
    let mut merged = studies.next()?;
    if parts.len() == 1 {
        return Some(merged);
    }
    let mut differences = Differences::default();
    for other in studies {
        merge_elements(&mut merged, other, &mut differences);
    }
    differences.add_tags(&mut merged);
    merged.number_of_series = merged_count(
        &parts.iter().map(|part| (part.series_count, part.series.len())).collect::<Vec<_>>(),
        merged.series.len(),
    );
    for series in &mut merged.series {
        let counts: Vec<_> = parts.iter().filter_map(|part| part.series_counts(&series.uid)).collect();
        series.number_of_instances = merged_count(&counts, series.instance.len());
    }
    merged.number_of_instances = study_instance_count(&parts, &merged);
    set_endpoints(&mut merged, &parts);
    study::complete(context, &mut merged);
    Some(merged)
}

/// The part of a study that one archive contains.
struct StudyPart {
    endpoint: Vec<Reference>,
    series_count: Option<u32>,
    instance_count: Option<u32>,
    /// The series, with their reported numbers of instances and the numbers of instances in the resource.
    series: Vec<(String, Option<u32>, usize)>,
}

impl StudyPart {
    fn new(study: &ImagingStudy) -> Self {
        let counts_of =
            |series: &Series| (series.uid.clone(), series.number_of_instances, series.instance.len());
        Self {
            endpoint: study.endpoint.clone(),
            series_count: study.number_of_series,
            instance_count: study.number_of_instances,
            series: study.series.iter().map(counts_of).collect(),
        }
    }

    /// Returns the reported number of instances of a series, and the number in the resource; `None` if the part does not
    /// contain the series.
    fn series_counts(&self, uid: &str) -> Option<(Option<u32>, usize)> {
        self.series
            .iter()
            .find(|(series, ..)| series == uid)
            .map(|(_, reported, listed)| (*reported, *listed))
    }

    /// Whether the archive contains all instances of the series.
    fn contains_series(&self, series: &Series) -> bool {
        self.series_counts(&series.uid).is_some_and(|(reported, listed)| {
            reported == series.number_of_instances && listed == series.instance.len()
        })
    }

    /// Whether the archive contains the whole study.
    fn contains_all(&self, study: &ImagingStudy) -> bool {
        let is_equal =
            |part_count: Option<u32>, merged: Option<u32>| part_count.is_none() || part_count == merged;
        is_equal(self.series_count, study.number_of_series)
            && is_equal(self.instance_count, study.number_of_instances)
            && study.series.iter().all(|series| self.contains_series(series))
    }
}

/// Returns the number of items in the union. `counts` has, for each archive, the number of items that it reports and the number in
/// its resource; `listed` is the number in the merged resource. Items that an archive reports but its resource cannot contain are
/// added.
fn merged_count(counts: &[(Option<u32>, usize)], listed: usize) -> Option<u32> {
    let to_count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let unlisted = counts
        .iter()
        .filter_map(|(reported, listed)| Some(reported.as_ref()?.saturating_sub(to_count(*listed))))
        .max()?;
    Some(to_count(listed).saturating_add(unlisted))
}

/// Returns the number of instances of the merged study; `None` if it is unknown.
fn study_instance_count(parts: &[StudyPart], merged: &ImagingStudy) -> Option<u32> {
    if merged.series.is_empty() {
        return parts.iter().filter_map(|part| part.instance_count).max();
    }
    let total = |counts: &mut dyn Iterator<Item = Option<u32>>| counts.sum::<Option<u32>>();
    let Some(merged_total) = total(&mut merged.series.iter().map(|series| series.number_of_instances)) else {
        let listed_count: usize = parts.iter().map(|part| part.series.len()).sum();
        // No series is in two archives.
        let is_partition = listed_count == merged.series.len();
        return total(&mut parts.iter().map(|part| part.instance_count)).filter(|_| is_partition);
    };
    let unlisted = parts.iter().filter_map(|part| {
        let in_series = total(&mut part.series.iter().map(|(_, reported, _)| *reported))?;
        Some(part.instance_count?.saturating_sub(in_series))
    });
    Some(merged_total + unlisted.max().unwrap_or(0))
}

/// Sets the Endpoints of the study, or of its series if no archive contains the whole study. If no archive contains all instances
/// of a series, the series has the Endpoints of all archives that contain some of them.
fn set_endpoints(merged: &mut ImagingStudy, parts: &[StudyPart]) {
    let whole_parts = parts.iter().filter(|part| part.contains_all(merged));
    merged.endpoint = whole_parts.flat_map(|part| part.endpoint.iter().cloned()).collect();
    if !merged.endpoint.is_empty() {
        return;
    }
    for series in &mut merged.series {
        let parts_with_series = || parts.iter().filter(|part| part.series_counts(&series.uid).is_some());
        let mut serving: Vec<_> = parts_with_series().filter(|part| part.contains_series(series)).collect();
        if serving.is_empty() {
            serving = parts_with_series().collect();
        }
        let endpoints = serving.iter().flat_map(|part| part.endpoint.iter().cloned()).collect();
        series.endpoint = endpoints;
    }
}

/// Adds the elements of `other` that `merged` lacks, except counts and Endpoints.
fn merge_elements(merged: &mut ImagingStudy, other: ImagingStudy, differences: &mut Differences) {
    if merged.status != other.status {
        // One of the archives can provide the study.
        merged.status = "available".into();
    }
    add_missing(&mut merged.identifier, other.identifier);
    add_missing(&mut merged.modality, other.modality);
    add_missing(&mut merged.based_on, other.based_on);
    add_missing(&mut merged.procedure_code, other.procedure_code);
    add_missing(&mut merged.reason_code, other.reason_code);
    // The reference depends on the system of the archive. Whether the patient is the same was decided before.
    if let (Some(name), Some(other_name)) = (&merged.subject.display, &other.subject.display) {
        differences.compare("subject", name, other_name);
    }
    // An archive without the PatientID describes the patient of another one that has it.
    if merged.subject.identifier.is_none() && other.subject.identifier.is_some() {
        merged.subject = other.subject;
    }
    differences.keep_first("encounter", &mut merged.encounter, other.encounter);
    differences.keep_first("started", &mut merged.started, other.started);
    differences.keep_first("referrer", &mut merged.referrer, other.referrer);
    differences.keep_first("procedureReference", &mut merged.procedure_reference, other.procedure_reference);
    differences.keep_first("location", &mut merged.location, other.location);
    differences.keep_first("description", &mut merged.description, other.description);
    differences.keep_first_list("interpreter", &mut merged.interpreter, other.interpreter);
    differences.keep_first_list("note", &mut merged.note, other.note);
    for series in other.series {
        match merged.series.iter_mut().find(|known| known.uid == series.uid) {
            Some(known) => merge_series(known, series, differences),
            None => merged.series.push(series),
        }
    }
}

fn merge_series(merged: &mut Series, other: Series, differences: &mut Differences) {
    differences.compare("series.modality", &merged.modality, &other.modality);
    differences.keep_first("series.number", &mut merged.number, other.number);
    differences.keep_first("series.description", &mut merged.description, other.description);
    differences.keep_first("series.bodySite", &mut merged.body_site, other.body_site);
    differences.keep_first("series.laterality", &mut merged.laterality, other.laterality);
    differences.keep_first("series.started", &mut merged.started, other.started);
    differences.keep_first_list("series.performer", &mut merged.performer, other.performer);
    add_missing(&mut merged.specimen, other.specimen);
    let known: HashSet<_> = merged.instance.iter().map(|instance| instance.uid.clone()).collect();
    merged.instance.extend(other.instance.into_iter().filter(|instance| !known.contains(&instance.uid)));
}

fn add_missing<T: PartialEq>(merged: &mut Vec<T>, others: Vec<T>) {
    for other in others {
        if !merged.contains(&other) {
            merged.push(other);
        }
    }
}

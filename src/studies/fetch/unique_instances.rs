//! The instances of one series and one patient, without duplicates.

use std::collections::HashSet;

use super::OmittedCounts;
use super::part_patients::PartPatients;
use crate::mapping::MappedInstance;
use crate::studies::ArchiveSource;
use crate::studies::accepted_uids::{is_accepted, needs_lenient_rule};
use dicom_model::{Attributes, SeriesUid};

/// The instances of one series, without duplicates.
pub(super) struct UniqueInstances<'a> {
    source: &'a ArchiveSource,
    pub(super) series: &'a SeriesUid,
    /// The patients that the instances name.
    pub(super) patients: PartPatients,
    /// The UIDs of all instances, acceptable or not.
    uids: HashSet<Box<str>>,
    /// The UIDs of the instances of other patients.
    uids_of_others: HashSet<Box<str>>,
    /// The instances with an acceptable UID.
    pub(super) instances: Vec<MappedInstance>,
    /// The number of rows without a UID.
    without_uid: usize,
    /// The number of instances whose UID only the lenient rule accepts, if it is not the rule of the archive.
    with_lenient_rule: usize,
}

impl<'a> UniqueInstances<'a> {
    /// Creates an empty list of instances of `series` and the patient of `patients`.
    pub(super) fn new(source: &'a ArchiveSource, series: &'a SeriesUid, patients: PartPatients) -> Self {
        Self {
            source,
            series,
            patients,
            uids: HashSet::new(),
            uids_of_others: HashSet::new(),
            instances: Vec::new(),
            without_uid: 0,
            with_lenient_rule: 0,
        }
    }

    /// Adds a row if it belongs to the series and the patient. Returns whether it is a new instance with an acceptable UID.
    pub(super) fn add(&mut self, mut instance: MappedInstance) -> bool {
        if instance.series.as_deref().is_some_and(|series| series != self.series.as_str()) {
            return false;
        }
        // The resource does not contain the patient of each instance.
        let patient: Attributes = std::mem::take(&mut instance.patient);
        let is_included = self.patients.includes(&self.source.context, &patient);
        let Some(uid) = instance.uid.as_deref() else {
            self.without_uid += 1;
            return false;
        };
        if !is_included {
            self.uids_of_others.insert(uid.into());
            return false;
        }
        if !self.uids.insert(uid.into()) {
            return false;
        }
        let is_accepted = is_accepted(self.source.archive.uid_rule(), uid);
        if is_accepted {
            self.instances.push(instance);
        } else {
            self.with_lenient_rule += usize::from(needs_lenient_rule(uid));
        }
        is_accepted
    }

    /// Returns the number of instances, with an acceptable UID or not, including those of other patients.
    pub(super) fn received(&self) -> usize {
        self.uids.len() + self.uids_of_others.len() + self.without_uid
    }

    /// Counts the instances without an acceptable UID.
    pub(super) fn omitted(&self) -> OmittedCounts {
        OmittedCounts {
            series: 0,
            instances: self.uids.len() - self.instances.len() + self.without_uid,
            with_lenient_rule: self.with_lenient_rule,
        }
    }
}

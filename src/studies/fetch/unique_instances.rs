//! The instances of one series and one patient, without duplicates.

use std::collections::HashSet;

use super::part_patients::PartPatients;
use crate::mapping::{MappedInstance, MappingContext};
use dicom_model::{Attributes, SeriesUid, Uid};

/// The instances of one series, without duplicates.
pub(super) struct UniqueInstances<'a> {
    context: &'a MappingContext,
    pub(super) series: &'a SeriesUid,
    /// The patients that the instances name.
    pub(super) patients: PartPatients,
    /// The UIDs of all instances, valid or not.
    uids: HashSet<Box<str>>,
    /// The UIDs of the instances of other patients.
    uids_of_others: HashSet<Box<str>>,
    /// The instances with a valid UID.
    pub(super) instances: Vec<MappedInstance>,
    /// The number of rows without a UID.
    without_uid: usize,
}

impl<'a> UniqueInstances<'a> {
    /// Creates an empty list of instances of `series` and the patient of `patients`.
    pub(super) fn new(context: &'a MappingContext, series: &'a SeriesUid, patients: PartPatients) -> Self {
        Self {
            context,
            series,
            patients,
            uids: HashSet::new(),
            uids_of_others: HashSet::new(),
            instances: Vec::new(),
            without_uid: 0,
        }
    }

    /// Adds a row if it belongs to the series and the patient. Returns whether it is a new instance with a valid UID.
    pub(super) fn add(&mut self, mut instance: MappedInstance) -> bool {
        if instance.series.as_deref().is_some_and(|series| series != self.series.as_str()) {
            return false;
        }
        // The resource does not contain the patient of each instance.
        let patient: Attributes = std::mem::take(&mut instance.patient);
        let is_included = self.patients.includes(self.context, &patient);
        let Some(uid) = instance.uid.as_deref() else {
            self.without_uid += 1;
            return false;
        };
        if !is_included {
            self.uids_of_others.insert(uid.into());
            return false;
        }
        let is_accepted = self.uids.insert(uid.into()) && Uid::is_legal(uid);
        if is_accepted {
            self.instances.push(instance);
        }
        is_accepted
    }

    /// Returns the number of instances, with a valid UID or not, including those of other patients.
    pub(super) fn received(&self) -> usize {
        self.uids.len() + self.uids_of_others.len() + self.without_uid
    }

    /// Returns the number of instances without a valid UID.
    pub(super) fn omitted(&self) -> usize {
        self.uids.len() - self.instances.len() + self.without_uid
    }
}

//! The location of one study: which archives contain which series, whether they agree about its patient, and which of them could not
//! be searched.
//!
//! Each archive is searched for the study and for its series. If only one of the two searches fails, and the other finds nothing, the
//! archive does not contain the study, unless it has no search for studies at its URL. After any other failure nothing is retrieved, because the archive may contain another part of
//! the study, or the study of another patient. This module does not send requests; `study_locator` does.

use std::time::Duration;

use crate::cache::CacheEntry;
use crate::dicomweb::error::DicomwebError;
use crate::mapping::RowPatient;
use crate::studies::{ArchiveFailure, StudiesError};
use crate::upstream::{Archive, ArchiveId};
use dicom_model::SeriesUid;

/// The archives in which a study was found.
#[derive(Debug, Clone)]
pub(super) struct StudyLocation {
    copies: Vec<ArchiveCopy>,
    /// The patients of the rows of the study, with the archive of each row.
    patients: Vec<(ArchiveId, RowPatient)>,
    /// Whether a series names another patient than its study, or another series.
    has_series_of_others: bool,
    /// The error of an archive that may contain the study, but could not be searched for its patient.
    unknown_patient: Option<DicomwebError>,
    /// The error of an archive that lists series of the study, but not the study, so their patient is unknown.
    unlisted: Option<DicomwebError>,
    /// The error of an archive that contains the study, but could not list its series.
    unknown_series: Option<DicomwebError>,
    /// The archives that may contain a part of the study, but failed, if the location may be without them.
    missing: Vec<(ArchiveId, StudiesError)>,
    /// The [`elapsed`](crate::clock::Clock::elapsed) time at which the archives were searched.
    pub(super) searched_at: Duration,
}

impl CacheEntry for StudyLocation {
    fn size(&self) -> usize {
        let series = self.copies.iter().flat_map(|copy| &copy.series);
        let series_size = series.map(|series| size_of::<SeriesLocation>() + series.uid.len()).sum::<usize>();
        let patients_size = self
            .patients
            .iter()
            .map(|(_, patient)| size_of::<RowPatient>() + patient.text_len())
            .sum::<usize>();
        self.copies.len() * size_of::<ArchiveCopy>() + series_size + patients_size
    }
}

/// The copy of a study in one archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ArchiveCopy {
    pub(super) archive: ArchiveId,
    pub(super) series: Vec<SeriesLocation>,
}

/// A series, with the number of its instances if the archive returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SeriesLocation {
    pub(super) uid: Box<str>,
    pub(super) instance_count: Option<i64>,
}

/// The results of searching one archive for a study: its series, and the patients of its rows.
#[derive(Debug)]
pub(super) struct ArchiveFindings {
    pub(super) series: Result<Vec<SeriesLocation>, DicomwebError>,
    /// The patients that the rows of the series name.
    pub(super) patients_of_series: Vec<RowPatient>,
    pub(super) patients: Result<Vec<RowPatient>, DicomwebError>,
}

impl ArchiveFindings {
    /// Returns the error of an archive that failed, and that may contain a part of the study.
    fn failure(&self) -> Option<StudiesError> {
        match (&self.series, &self.patients) {
            (Ok(series), Err(_)) if series.is_empty() => None,
            (Err(_), Ok(patients)) if patients.is_empty() => None,
            (series, patients) => {
                let errors = [series.as_ref().err(), patients.as_ref().err()];
                errors.into_iter().flatten().find_map(DicomwebError::as_archive_failure)
            }
        }
    }
}

impl ArchiveCopy {
    /// Returns the series with `uid`.
    fn series(&self, uid: &str) -> Option<&SeriesLocation> {
        self.series.iter().find(|series| series.uid.as_ref() == uid)
    }

    /// Returns the number of instances of the series, or of the whole study, as far as the archive reports it.
    pub(super) fn instance_count(&self, series: Option<&SeriesUid>) -> usize {
        self.instance_counts(series).flatten().sum()
    }

    /// Returns the number of instances of the series, or of the whole study; `None` if the archive does not report that of each series.
    pub(super) fn reported_instance_count(&self, series: Option<&SeriesUid>) -> Option<usize> {
        self.instance_counts(series).sum()
    }

    fn instance_counts(&self, series: Option<&SeriesUid>) -> impl Iterator<Item = Option<usize>> {
        let is_counted =
            move |location: &&SeriesLocation| series.is_none_or(|uid| *location.uid == *uid.as_str());
        let counted = self.series.iter().filter(is_counted);
        counted.map(|series| series.instance_count.and_then(|count| usize::try_from(count).ok()))
    }
}

impl StudyLocation {
    /// Creates a location without an archive.
    pub(super) fn new(searched_at: Duration) -> Self {
        Self {
            copies: Vec::new(),
            patients: Vec::new(),
            has_series_of_others: false,
            unknown_patient: None,
            unlisted: None,
            unknown_series: None,
            missing: Vec::new(),
            searched_at,
        }
    }

    /// Adds what `archive` says. If the archive failed, the location is without it.
    pub(super) fn add_unless_failed(&mut self, archive: &Archive, findings: ArchiveFindings) {
        match findings.failure() {
            Some(failure) => self.missing.push((archive.id().clone(), failure)),
            None => self.add(archive, findings),
        }
    }

    /// Returns the archives without which the study was located, with the error of each.
    pub(super) fn missing(&self) -> &[(ArchiveId, StudiesError)] {
        &self.missing
    }

    /// Adds what `archive` says.
    pub(super) fn add(&mut self, archive: &Archive, mut findings: ArchiveFindings) {
        self.compare_series(&mut findings);
        match (findings.series, findings.patients) {
            (Ok(series), Ok(patients)) => {
                match (series.is_empty(), patients.is_empty()) {
                    (true, false) => {
                        self.unknown_series = Some(archive.unreadable("a study without series").into());
                    }
                    (false, true) => {
                        self.unlisted = Some(archive.unreadable("series without their study").into());
                    }
                    _ => {}
                }
                self.add_copy(archive, series);
                self.add_patients(archive, patients);
            }
            (Ok(series), Err(error)) => {
                if !series.is_empty() {
                    self.unknown_patient = Some(error);
                    self.add_copy(archive, series);
                }
            }
            (Err(error), Ok(patients)) => {
                if !patients.is_empty() {
                    self.unknown_series = Some(error);
                    self.add_patients(archive, patients);
                }
            }
            (Err(error), Err(_)) => self.unknown_patient = Some(error),
        }
    }

    /// Compares the patients that the series name with that of the study, or with each other.
    fn compare_series(&mut self, findings: &mut ArchiveFindings) {
        let mut patients_of_series = findings.patients_of_series.drain(..);
        self.has_series_of_others |=
            !match findings.patients.as_mut().ok().and_then(|patients| patients.first_mut()) {
                Some(patient) => patients_of_series.all(|series| patient.includes(&series)),
                None => match patients_of_series.next() {
                    Some(mut first) => patients_of_series.all(|series| first.includes(&series)),
                    None => true,
                },
            };
    }

    fn add_copy(&mut self, archive: &Archive, series: Vec<SeriesLocation>) {
        if !series.is_empty() {
            self.copies.push(ArchiveCopy { archive: archive.id().clone(), series });
        }
    }

    fn add_patients(&mut self, archive: &Archive, patients: Vec<RowPatient>) {
        self.patients.extend(patients.into_iter().map(|patient| (archive.id().clone(), patient)));
    }

    /// Returns the copies of the study, in the order of the configuration.
    pub(super) fn copies(&self) -> &[ArchiveCopy] {
        &self.copies
    }

    /// Returns the copies of the study that contain a part of the series, the largest part first.
    pub(super) fn copies_with(&self, series: &SeriesUid) -> Vec<&ArchiveCopy> {
        let mut copies: Vec<_> = self
            .copies
            .iter()
            .filter_map(|copy| Some((copy.series(series.as_str())?.instance_count, copy)))
            .collect();
        copies.sort_by_key(|(instance_count, _)| std::cmp::Reverse(*instance_count));
        copies.into_iter().map(|(_, copy)| copy).collect()
    }

    /// Returns an error if rows assign the study to different patients, or if an archive that may contain the study did not return
    /// its rows.
    pub(super) fn require_one_patient(&self) -> Result<(), DicomwebError> {
        let is_contradicted = |(index, (_, patient)): (usize, &(ArchiveId, RowPatient))| {
            self.patients.iter().skip(index + 1).any(|(_, other)| patient.contradicts(other))
        };
        if self.has_series_of_others || self.patients.iter().enumerate().any(is_contradicted) {
            let of_patients = self.patients.iter().map(|(archive, _)| archive.clone());
            let of_copies = self.copies.iter().map(|copy| copy.archive.clone());
            let mut archives: Vec<_> =
                if self.patients.is_empty() { of_copies.collect() } else { of_patients.collect() };
            archives.dedup();
            return Err(DicomwebError::PatientConflict { archives });
        }
        let is_only_copy = self.copies.len() == 1 && self.patients.is_empty();
        let unlisted = self.unlisted.as_ref().filter(|_| !is_only_copy);
        self.unknown_patient.as_ref().or(unlisted).cloned().map_or(Ok(()), Err)
    }

    /// Returns the patient of the study in `archive`, if the archive returned it.
    pub(super) fn patient_in(&self, archive: &ArchiveId) -> Option<&RowPatient> {
        self.patients.iter().find(|(of, _)| of == archive).map(|(_, patient)| patient)
    }

    /// Returns an error if an archive that contains the study could not list its series.
    pub(super) fn require_every_series(&self) -> Result<(), DicomwebError> {
        self.unknown_series.clone().map_or(Ok(()), Err)
    }

    /// Whether every archive could be searched, and the study belongs to one patient.
    pub(super) fn is_certain(&self) -> bool {
        self.missing.is_empty() && self.unknown_series.is_none() && self.require_one_patient().is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_part_of_a_series_comes_first() {
        let copy = |archive: &str, series: &[(&str, Option<i64>)]| ArchiveCopy {
            archive: ArchiveId::parse(archive).unwrap(),
            series: series
                .iter()
                .map(|(uid, count)| SeriesLocation { uid: (*uid).into(), instance_count: *count })
                .collect(),
        };
        let copies = vec![copy("a", &[("1.1", Some(3))]), copy("c", &[("1.1", Some(5)), ("1.2", None)])];
        let location = StudyLocation { copies, ..StudyLocation::new(Duration::ZERO) };
        let archives_with = |uid| -> Vec<&str> {
            let copies = location.copies_with(&SeriesUid::parse(uid).unwrap());
            copies.into_iter().map(|copy| copy.archive.as_str()).collect()
        };
        assert_eq!(archives_with("1.1"), ["c", "a"]);
        assert_eq!(archives_with("1.2"), ["c"]);
        assert_eq!(archives_with("1.3"), [""; 0]);
        assert_eq!(location.copies()[1].instance_count(None), 5);
    }
}

//! The index of a directory: its studies, series and instances with the attributes that searches need.
//!
//! The directory is read once, in parallel. Files that are not DICOM, DICOMDIRs, invalid files and duplicate files are counted and
//! skipped. Pixel data is not read into memory: the index stores the path and a few attributes of an instance. This module does not
//! know about queries.

use super::body;
use super::levels::{self, Level};
use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_model::data_set::DataSet;
use dicom_model::part10::{Header, ReadError, is_deflated};
use dicom_model::{SeriesUid, SopInstanceUid, StudyUid};
use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::io::IsTerminal as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

/// The studies of a directory.
#[derive(Debug, Default)]
pub struct Index {
    studies: Vec<Study>,
    /// The positions in `studies`. A UID has several positions if files with this UID have different patients.
    by_uid: HashMap<StudyUid, Vec<usize>>,
}

/// A study of one patient.
#[derive(Debug)]
pub struct Study {
    /// Study Instance UID.
    pub uid: StudyUid,
    /// Attributes of patient and study, from the first file.
    pub attributes: DataSet,
    /// The series, ordered by Series Number.
    pub series: Vec<Series>,
}

/// A series.
#[derive(Debug)]
pub struct Series {
    /// Series Instance UID.
    pub uid: SeriesUid,
    /// Attributes of the series, from the first file.
    pub attributes: DataSet,
    /// The instances, ordered by Instance Number.
    pub instances: Vec<Instance>,
}

/// An instance, stored in one file.
#[derive(Debug)]
pub struct Instance {
    /// SOP Instance UID.
    pub uid: SopInstanceUid,
    /// Path of the file.
    pub path: PathBuf,
    /// Transfer syntax of the file.
    pub transfer_syntax: &'static str,
    /// Attributes of the instance.
    pub attributes: DataSet,
}

/// The result of indexing. The counts add up to `files`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexReport {
    /// The number of all files.
    pub files: usize,
    /// Files that are served as instances.
    pub instances: usize,
    /// Files that are not DICOM.
    pub not_dicom: usize,
    /// DICOMDIR files.
    pub dicomdir: usize,
    /// DICOM files that are invalid, truncated or in an unsupported transfer syntax.
    pub malformed: usize,
    /// DICOM files without valid study, series and instance UIDs.
    pub unidentified: usize,
    /// Files with the SOP Instance UID of another file.
    pub repeated: usize,
    /// Files that could not be opened.
    pub unreadable: usize,
}

/// Writes one line for people: the numbers of served files, and of skipped files with the reason.
impl fmt::Display for IndexReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} of {} files are served", self.instances, self.files)?;
        let skipped = [
            (self.not_dicom, "not DICOM"),
            (self.dicomdir, "DICOMDIR"),
            (self.malformed, "invalid or unsupported"),
            (self.unidentified, "without valid UIDs"),
            (self.repeated, "duplicate"),
            (self.unreadable, "unreadable"),
        ];
        for (position, (count, reason)) in skipped.iter().filter(|(count, _)| *count > 0).enumerate() {
            let separator = if position == 0 { "; skipped: " } else { ", " };
            write!(formatter, "{separator}{count} {reason}")?;
        }
        Ok(())
    }
}

/// Whether indexing shows its progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// A progress bar on standard error, if it is a terminal.
    Bar,
    /// No progress.
    Silent,
}

/// A file that will be served.
struct ServedFile {
    study: StudyUid,
    series: SeriesUid,
    instance: Instance,
    study_attributes: DataSet,
    series_attributes: DataSet,
}

/// The attributes of a study, and the series found so far.
type StudyParts = (DataSet, BTreeMap<SeriesUid, Series>);

enum Outcome {
    Indexed(Box<ServedFile>),
    Unidentified,
    Failed(ReadError),
}

impl Index {
    /// Reads every file under `folder`.
    pub fn build(folder: &Path, progress: Progress) -> (Self, IndexReport) {
        let mut report = IndexReport::default();
        let mut paths = Vec::new();
        for entry in WalkDir::new(folder).follow_links(true).sort_by_file_name() {
            match entry {
                Ok(entry) if entry.file_type().is_file() => paths.push(entry.into_path()),
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(reason = %error, "a file is skipped");
                    report.unreadable += 1;
                }
            }
        }
        report.files = paths.len() + report.unreadable;
        let bar = progress_bar(progress, report.files);
        let outcomes: Vec<Outcome> =
            paths.into_par_iter().map(|path| read_file(&path)).inspect(|_| bar.inc(1)).collect();
        bar.finish_and_clear();
        let mut served = Vec::new();
        for outcome in outcomes {
            match outcome {
                Outcome::Indexed(instance) => served.push(*instance),
                Outcome::Unidentified => report.unidentified += 1,
                Outcome::Failed(ReadError::NotDicom) => report.not_dicom += 1,
                Outcome::Failed(ReadError::Directory) => report.dicomdir += 1,
                Outcome::Failed(ReadError::Io(_)) => report.unreadable += 1,
                Outcome::Failed(_) => report.malformed += 1,
            }
        }
        let file_count = served.len();
        let index = Self::group_by_study(served);
        report.instances = index.instances().count();
        report.repeated = file_count - report.instances;
        (index, report)
    }

    /// Returns all studies, ordered by UID.
    pub fn studies(&self) -> &[Study] {
        &self.studies
    }

    /// Returns the positions of the studies with this UID: more than one if files with this UID have different patients.
    pub fn positions(&self, uid: &StudyUid) -> &[usize] {
        self.by_uid.get(uid).map_or(&[], Vec::as_slice)
    }

    /// Returns all instances.
    pub fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.studies.iter().flat_map(|study| &study.series).flat_map(|series| &series.instances)
    }

    fn group_by_study(files: Vec<ServedFile>) -> Self {
        let mut uids = HashSet::new();
        let mut studies: BTreeMap<(StudyUid, Vec<String>), StudyParts> = BTreeMap::new();
        for ServedFile { study, series, instance, study_attributes, series_attributes } in files {
            if !uids.insert(instance.uid.clone()) {
                log_skipped(&instance.path, "another file has the same SOP Instance UID");
                continue;
            }
            let patient = [tags::PATIENT_ID, tags::ISSUER_OF_PATIENT_ID]
                .map(|tag| study_attributes.text(tag).unwrap_or_default().to_owned());
            let (_, series_of_study) = studies
                .entry((study, patient.to_vec()))
                .or_insert_with(|| (study_attributes, BTreeMap::new()));
            series_of_study
                .entry(series)
                .or_insert_with_key(|uid| Series {
                    uid: uid.clone(),
                    attributes: series_attributes,
                    instances: Vec::new(),
                })
                .instances
                .push(instance);
        }
        let studies: Vec<Study> = studies
            .into_iter()
            .map(|((uid, _), (attributes, series))| Study { uid, attributes, series: sort_series(series) })
            .collect();
        let mut by_uid: HashMap<StudyUid, Vec<usize>> = HashMap::new();
        for (position, study) in studies.iter().enumerate() {
            by_uid.entry(study.uid.clone()).or_default().push(position);
        }
        Self { studies, by_uid }
    }
}

fn sort_series(series: BTreeMap<SeriesUid, Series>) -> Vec<Series> {
    let mut sorted_series: Vec<Series> = series.into_values().collect();
    for series in &mut sorted_series {
        series.instances.sort_by_cached_key(|instance| {
            (number_or_last(&instance.attributes, tags::INSTANCE_NUMBER), instance.uid.clone())
        });
    }
    sorted_series.sort_by_cached_key(|series| {
        (number_or_last(&series.attributes, tags::SERIES_NUMBER), series.uid.clone())
    });
    sorted_series
}

/// Returns the number in an attribute, or the maximum if there is none, so that the object is sorted last.
fn number_or_last(attributes: &DataSet, tag: Tag) -> i64 {
    attributes.text(tag).and_then(|text| text.parse().ok()).unwrap_or(i64::MAX)
}

/// Logs why a file is not served. The path may contain the name of a patient, so the level is that of data below which UIDs are logged.
fn log_skipped(path: &Path, reason: impl fmt::Display) {
    tracing::debug!(path = %path.display(), %reason, "a file is skipped");
}

fn read_file(path: &Path) -> Outcome {
    let is_requested = |tag| levels::level_of(tag).is_some() || tag == tags::SPECIFIC_CHARACTER_SET;
    // If a file makes the reader panic, it is counted as invalid and indexing continues. No such file is known.
    let result = catch_unwind(AssertUnwindSafe(|| read_complete_header(path, is_requested)))
        .unwrap_or_else(|_| Err(ReadError::Malformed("the reader panicked")));
    match result {
        Ok(header) => {
            if let Some(file) = identify(path, header) {
                Outcome::Indexed(Box::new(file))
            } else {
                log_skipped(path, "it has no valid study, series and instance UIDs");
                Outcome::Unidentified
            }
        }
        Err(error) => {
            log_skipped(path, &error);
            Outcome::Failed(error)
        }
    }
}

/// Reads the header of a file, and checks that the file is not truncated. For a deflated file the pixel data must be read to check
/// this.
fn read_complete_header(path: &Path, is_requested: impl Fn(Tag) -> bool) -> Result<Header, ReadError> {
    let mut object = body::open_object(path)?;
    let header = object.header(is_requested)?;
    if is_deflated(header.transfer_syntax) {
        object.skip_native_pixel_data(&header)?;
    }
    Ok(header)
}

fn identify(path: &Path, header: Header) -> Option<ServedFile> {
    let Header { transfer_syntax, data, .. } = header;
    let study = StudyUid::parse(data.text(tags::STUDY_INSTANCE_UID)?).ok()?;
    let series = SeriesUid::parse(data.text(tags::SERIES_INSTANCE_UID)?).ok()?;
    let uid = SopInstanceUid::parse(data.text(tags::SOP_INSTANCE_UID)?).ok()?;
    let (study_attributes, rest) = data.partition(|tag| levels::level_of(tag) == Some(Level::Study));
    let (series_attributes, attributes) = rest.partition(|tag| levels::level_of(tag) == Some(Level::Series));
    let attributes = attributes.partition(|tag| levels::level_of(tag) == Some(Level::Instance)).0;
    let instance = Instance { uid, path: path.to_owned(), transfer_syntax, attributes };
    Some(ServedFile { study, series, instance, study_attributes, series_attributes })
}

fn progress_bar(progress: Progress, files: usize) -> ProgressBar {
    if progress == Progress::Silent || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(files as u64);
    if let Ok(style) = ProgressStyle::with_template("indexing {bar:40} {pos}/{len} files, {eta} left") {
        bar.set_style(style);
    }
    bar
}

//! The index of a directory: its studies, series and instances with the attributes that searches need.
//!
//! The directory is read once, in parallel. Files that are not DICOM, DICOMDIRs, invalid and duplicate files are
//! counted and skipped. Pixel data are not read into memory: an instance consists of its path and a few attributes.
//! Does not know about queries.

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
    /// Positions in `studies`. A UID has several if files with the same UID have different patients.
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
    /// All files.
    pub files: usize,
    /// Files that are served as instances.
    pub instances: usize,
    /// Files that are not DICOM.
    pub not_dicom: usize,
    /// DICOMDIR files.
    pub dicomdir: usize,
    /// DICOM files that are invalid, truncated or in an unsupported transfer syntax.
    pub broken: usize,
    /// DICOM files without valid study, series and instance UIDs.
    pub unidentified: usize,
    /// Files with the SOP Instance UID of another file.
    pub repeated: usize,
    /// Files that could not be opened.
    pub unreadable: usize,
}

/// One line for people: the number of served files, and of skipped files with the reason.
impl fmt::Display for IndexReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} of {} files are served", self.instances, self.files)?;
        let skipped = [
            (self.not_dicom, "not DICOM"),
            (self.dicomdir, "DICOMDIR"),
            (self.broken, "invalid or unsupported"),
            (self.unidentified, "without valid UIDs"),
            (self.repeated, "duplicate"),
            (self.unreadable, "unreadable"),
        ];
        for (position, (count, what)) in skipped.iter().filter(|(count, _)| *count > 0).enumerate() {
            let lead = if position == 0 { "; skipped: " } else { ", " };
            write!(formatter, "{lead}{count} {what}")?;
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
struct Found {
    study: StudyUid,
    series: SeriesUid,
    instance: Instance,
    study_attributes: DataSet,
    series_attributes: DataSet,
}

/// Attributes of a study, and its series so far.
type StudyParts = (DataSet, BTreeMap<SeriesUid, Series>);

enum Outcome {
    Found(Box<Found>),
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
                Err(_) => report.unreadable += 1,
            }
        }
        report.files = paths.len() + report.unreadable;
        let bar = bar(progress, report.files);
        let outcomes: Vec<Outcome> = paths.into_par_iter().map(read_file).inspect(|_| bar.inc(1)).collect();
        bar.finish_and_clear();
        let mut found = Vec::new();
        for outcome in outcomes {
            match outcome {
                Outcome::Found(instance) => found.push(*instance),
                Outcome::Unidentified => report.unidentified += 1,
                Outcome::Failed(ReadError::NotDicom) => report.not_dicom += 1,
                Outcome::Failed(ReadError::Directory) => report.dicomdir += 1,
                Outcome::Failed(ReadError::Io(_)) => report.unreadable += 1,
                Outcome::Failed(_) => report.broken += 1,
            }
        }
        let candidates = found.len();
        let index = Self::gather(found);
        report.instances = index.instances().count();
        report.repeated = candidates - report.instances;
        (index, report)
    }

    /// All studies, ordered by UID.
    pub fn studies(&self) -> &[Study] {
        &self.studies
    }

    /// The positions of the studies with this UID: more than one if files with this UID have different patients.
    pub fn positions(&self, uid: &StudyUid) -> &[usize] {
        self.by_uid.get(uid).map_or(&[], Vec::as_slice)
    }

    /// All instances.
    pub fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.studies.iter().flat_map(|study| &study.series).flat_map(|series| &series.instances)
    }

    fn gather(found: Vec<Found>) -> Self {
        let mut seen = HashSet::new();
        let mut studies: BTreeMap<(StudyUid, Vec<String>), StudyParts> = BTreeMap::new();
        for Found { study, series, instance, study_attributes, series_attributes } in found {
            if !seen.insert(instance.uid.clone()) {
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
            .map(|((uid, _), (attributes, series))| Study { uid, attributes, series: sorted(series) })
            .collect();
        let mut by_uid: HashMap<StudyUid, Vec<usize>> = HashMap::new();
        for (position, study) in studies.iter().enumerate() {
            by_uid.entry(study.uid.clone()).or_default().push(position);
        }
        Self { studies, by_uid }
    }
}

fn sorted(series: BTreeMap<SeriesUid, Series>) -> Vec<Series> {
    let mut series: Vec<Series> = series.into_values().collect();
    for one in &mut series {
        one.instances.sort_by_cached_key(|instance| {
            (number(&instance.attributes, tags::INSTANCE_NUMBER), instance.uid.clone())
        });
    }
    series.sort_by_cached_key(|series| (number(&series.attributes, tags::SERIES_NUMBER), series.uid.clone()));
    series
}

fn number(attributes: &DataSet, tag: Tag) -> i64 {
    attributes.text(tag).and_then(|text| text.parse().ok()).unwrap_or(i64::MAX)
}

fn read_file(path: PathBuf) -> Outcome {
    let wanted = |tag| levels::of(tag).is_some() || tag == tags::SPECIFIC_CHARACTER_SET;
    // No file is known to make the reader panic. If one does, it is counted as invalid and indexing continues.
    let read = catch_unwind(AssertUnwindSafe(|| complete_header(&path, wanted)))
        .unwrap_or_else(|_| Err(ReadError::Broken("the reader panicked")));
    match read {
        Ok(header) => {
            identified(path, header).map_or(Outcome::Unidentified, |found| Outcome::Found(Box::new(found)))
        }
        Err(error) => Outcome::Failed(error),
    }
}

/// The header of a file that is not truncated. The size of a file shows whether it holds its pixel data, unless it is
/// deflated.
fn complete_header(path: &Path, wanted: impl Fn(Tag) -> bool) -> Result<Header, ReadError> {
    let mut object = body::object(path)?;
    let header = object.header(wanted)?;
    if is_deflated(header.transfer_syntax) {
        object.skip_native_pixel_data(&header)?;
    }
    Ok(header)
}

fn identified(path: PathBuf, header: Header) -> Option<Found> {
    let Header { transfer_syntax, data, .. } = header;
    let study = StudyUid::parse(data.text(tags::STUDY_INSTANCE_UID)?).ok()?;
    let series = SeriesUid::parse(data.text(tags::SERIES_INSTANCE_UID)?).ok()?;
    let uid = SopInstanceUid::parse(data.text(tags::SOP_INSTANCE_UID)?).ok()?;
    let (study_attributes, rest) = data.part(|tag| levels::of(tag) == Some(Level::Study));
    let (series_attributes, attributes) = rest.part(|tag| levels::of(tag) == Some(Level::Series));
    let attributes = attributes.part(|tag| levels::of(tag) == Some(Level::Instance)).0;
    let instance = Instance { uid, path, transfer_syntax, attributes };
    Some(Found { study, series, instance, study_attributes, series_attributes })
}

fn bar(progress: Progress, files: usize) -> ProgressBar {
    if progress == Progress::Silent || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(files as u64);
    if let Ok(style) = ProgressStyle::with_template("indexing {bar:40} {pos}/{len} files, {eta} left") {
        bar.set_style(style);
    }
    bar
}

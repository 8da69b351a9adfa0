//! The lists of the archives from which the studies of a window are read. A list that is short enough is read as a whole, and its rows are
//! divided among the windows. A longer one is searched for the dates of each window.
//!
//! A study is on the page only if its resource starts in the window, so that the row that determines its start must be among the rows of
//! the window. Therefore archives before the last one that must be queried are queried too, and with several archives the modality is no
//! key: the copy of the study in another archive may have another one.

use std::collections::BTreeSet;

use super::WindowError;
use crate::studies::candidates::{StudyRows, must_be_queried};
use crate::studies::date_windows::{DayWindow, day_number};
use crate::studies::plan::{self, DateRange, PlannedQuery, UidKeys};
use crate::studies::scan::ScanLimit;
use crate::studies::{ArchiveSource, Freshness, Studies, StudiesError};
use crate::upstream::ArchiveId;
use dicom_model::{Attributes, DicomDate, tags};
use fhir_r4::search::{Comparison, Criterion, ImagingStudyParam};
use fhir_r4::types::ImagingStudy;

/// The lists of the archives that are queried.
pub(super) struct DatedLists<'a> {
    /// The dates of all studies that can match.
    pub(super) range: DateRange,
    lists: Vec<DatedList<'a>>,
    /// The archives with long lists that have returned a row of a window.
    with_rows: BTreeSet<ArchiveId>,
}

/// The list of one archive.
struct DatedList<'a> {
    source: &'a ArchiveSource,
    /// The query for all studies of the list.
    planned: PlannedQuery,
    /// The rows, if the list is short enough to be read as a whole.
    rows: Option<StudyRows>,
}

/// The rows of one window.
pub(super) enum WindowRows {
    /// All rows, and the maximum number that was read from one archive.
    Read(StudyRows, usize),
    /// An archive has too many rows, some of which are on these days.
    TooLong { archive: ArchiveId, days: Vec<i32> },
}

/// The rows of one archive for one window.
enum DatedRows {
    Read(StudyRows, usize),
    TooLong(Vec<i32>),
    /// The archive has returned many rows outside the requested dates.
    OutsideDates,
}

impl<'a> DatedLists<'a> {
    /// Reads the lists that are short enough.
    pub(super) async fn read(
        studies: &'a Studies,
        criteria: &[Criterion<ImagingStudy>],
        freshness: Freshness,
    ) -> Result<Self, WindowError> {
        let is_missing = |criterion: &Criterion<ImagingStudy>| {
            criterion.parameter.key == ImagingStudyParam::Started
                && matches!(criterion.comparison, Comparison::Missing(true))
        };
        let last = studies.sources().iter().rposition(|source| must_be_queried(source, criteria));
        let sources = studies.sources().iter().take(last.map_or(0, |last| last + 1));
        let has_copies = studies.sources().len() > 1;
        let mut lists = Vec::new();
        let mut range = DateRange::default();
        for source in sources {
            let query = plan::query_to_narrow_by_date(criteria, UidKeys::of(&source.archive));
            let Some((planned, dates)) = query.filter(|_| !criteria.iter().any(is_missing)) else {
                let (archive, limit) = (source.archive.id().clone(), studies.limits.max_scan);
                return Err(WindowError::Unusable(StudiesError::TooManyRows { archive, limit }));
            };
            range = dates;
            let planned = if has_copies { planned.without_keys_of_copies() } else { planned };
            lists.push(DatedList { source, planned, rows: None });
        }
        let detecting = studies.detecting_long_lists();
        let read = lists.iter().map(|list| {
            let reading = async {
                let planned = std::slice::from_ref(&list.planned);
                match detecting.run_queries(list.source, planned, freshness).await {
                    Err(error) if error.is_from_long_list() => Ok(None),
                    rows => rows.map(Some),
                }
            };
            (list.source, reading)
        });
        // An archive that fails, and may be missing from the answer, has no list.
        let read = studies.query_each(read).await?;
        let mut read: Vec<_> =
            read.into_iter().map(|(source, rows)| (source.archive.id().clone(), rows)).collect();
        lists.retain_mut(|list| {
            let index = read.iter().position(|(archive, _)| archive == list.source.archive.id());
            let is_read = index.map(|index| list.rows = read.swap_remove(index).1);
            is_read.is_some()
        });
        Ok(Self { range, lists, with_rows: BTreeSet::new() })
    }

    /// Returns the archives whose lists are too long to be read as a whole.
    pub(super) fn long_lists(&self) -> impl Iterator<Item = ArchiveId> {
        self.lists.iter().filter(|list| list.rows.is_none()).map(|list| list.source.archive.id().clone())
    }

    /// Returns an archive whose list is too long to be read as a whole, or any archive if there is none.
    pub(super) fn any_long_list(&self) -> Option<ArchiveId> {
        self.long_lists().next().or_else(|| self.lists.first().map(|list| list.source.archive.id().clone()))
    }

    /// Returns the error of an archive that has returned no row of any window although its list is long.
    pub(super) fn error_without_rows(&self, limit: usize) -> Option<StudiesError> {
        let archive = self.long_lists().find(|archive| !self.with_rows.contains(archive))?;
        Some(StudiesError::TooManyRows { archive, limit })
    }

    /// Returns the rows without a date of the lists that are read as a whole.
    pub(super) fn undated_rows(&self) -> StudyRows {
        let mut undated = StudyRows::default();
        for rows in self.lists.iter().filter_map(|list| list.rows.as_ref()) {
            add_rows_if(&mut undated, rows, |row| date_of_row(row).is_none());
        }
        undated
    }

    /// Reads the rows of `window` from each archive, at most `max_rows` each.
    pub(super) async fn read_window(
        &mut self,
        studies: &Studies,
        window: DayWindow,
        max_rows: usize,
        freshness: Freshness,
    ) -> Result<WindowRows, WindowError> {
        let dates = window.dates().intersection(self.range);
        let searches =
            self.lists.iter().map(|list| (list.source, list.read_dates(studies, dates, max_rows, freshness)));
        let found = studies.query_each(searches).await?;
        let (mut rows, mut max_count, mut too_long) = (StudyRows::default(), 0, None);
        for (source, dated) in found {
            let archive = source.archive.id().clone();
            match dated {
                DatedRows::Read(dated, count) => {
                    if count > 0 {
                        self.with_rows.insert(archive);
                    }
                    max_count = max_count.max(count);
                    rows.with_uid.extend(dated.with_uid);
                    rows.without_uid.extend(dated.without_uid);
                }
                DatedRows::TooLong(days) => {
                    self.with_rows.insert(archive.clone());
                    let (_, all_days) = too_long.get_or_insert_with(|| (archive, Vec::new()));
                    all_days.extend(days);
                }
                DatedRows::OutsideDates => {
                    let limit = studies.limits.max_scan;
                    return Err(WindowError::Unusable(StudiesError::TooManyRows { archive, limit }));
                }
            }
        }
        Ok(match too_long {
            Some((archive, days)) => WindowRows::TooLong { archive, days },
            None => WindowRows::Read(rows, max_count),
        })
    }
}

impl DatedList<'_> {
    /// Reads the rows with `dates`, and perhaps others.
    async fn read_dates(
        &self,
        studies: &Studies,
        dates: DateRange,
        max_rows: usize,
        freshness: Freshness,
    ) -> Result<DatedRows, StudiesError> {
        let mut rows = StudyRows::default();
        if let Some(whole) = &self.rows {
            add_rows_if(&mut rows, whole, |row| date_of_row(row).is_some_and(|date| dates.contains(date)));
            return Ok(DatedRows::Read(rows, 0));
        }
        if dates.is_empty() {
            return Ok(DatedRows::Read(rows, 0));
        }
        let limit = ScanLimit { max_rows, detects_long_lists: true };
        let mut count = 0;
        for range in std::iter::once(dates).chain(dates.dotted_dates_of_first_year()) {
            let planned = self.planned.for_range(range).unwrap_or_else(|| self.planned.clone());
            let found = studies.query_with_alternatives(self.source, &planned, Some(limit), freshness).await;
            let found = match found {
                Err(StudiesError::Archive(error))
                    if error.is_content_too_large() || error.is_unpageable() =>
                {
                    return Ok(DatedRows::TooLong(Vec::new()));
                }
                found => found?,
            };
            if found.exceeded_limit.is_some() {
                let outside = found.rows.iter().filter(|row| is_outside(range, row)).count();
                if 2 * outside > found.rows.len() {
                    return Ok(DatedRows::OutsideDates);
                }
                let dates = found.rows.iter().filter_map(date_of_row);
                return Ok(DatedRows::TooLong(dates.map(|date| day_number(date.civil())).collect()));
            }
            count += found.rows.len();
            studies.add_rows(&mut rows, self.source, &found);
        }
        Ok(DatedRows::Read(rows, count))
    }
}

fn add_rows_if(rows: &mut StudyRows, from: &StudyRows, is_included: impl Fn(&Attributes) -> bool) {
    rows.with_uid.extend(from.with_uid.iter().filter(|row| is_included(&row.attributes)).cloned());
    rows.without_uid.extend(from.without_uid.iter().filter(|row| is_included(&row.attributes)).cloned());
}

/// Returns the date of a row, if a resource has it (R4 datatypes#date).
pub(super) fn date_of_row(row: &Attributes) -> Option<DicomDate> {
    row.text(tags::STUDY_DATE).and_then(DicomDate::parse).filter(|date| date.civil().year() > 0)
}

/// Whether an archive that evaluates ranges of dates cannot return the row for `range`.
fn is_outside(range: DateRange, row: &Attributes) -> bool {
    match row.text(tags::STUDY_DATE) {
        // Some archives return studies without a date for a range without a first day.
        None => range.first.is_some(),
        Some(_) => {
            date_of_row(row).is_some_and(|date| !range.contains(date) && !range.may_contain_dotted(date))
        }
    }
}

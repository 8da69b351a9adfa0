//! Reads one page of a search for more studies than may be read, in the order of their start. The studies are read in windows of days,
//! from the newest or from the oldest on, until the page is full ([`date_windows`](super::date_windows)). [`dated_lists`] reads the rows of
//! a window, and [`matches`] selects the matches from them.
//!
//! A request reads about `search.max_scan` rows of each archive. If the page is not full by then, it is shorter, and the next page
//! continues. Only if there is no match at all on the first page the search fails, because a client could take an empty page for the whole
//! result.

mod dated_lists;
mod matches;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::date_windows::{DateWalk, DayWindow, WalkDirection, date_of, day_number};
use super::row::RowWithoutUid;
use super::search::{Cursor, StudyPage, StudySearch};
use super::sort::SortPosition;
use super::study_versions::needs_versions;
use super::{FoundStudy, Freshness, Studies, StudiesError};
use crate::auth::Access;
use dated_lists::{DatedLists, WindowRows};
use dicom_model::StudyUid;
use fhir_r4::search::{Comparison, Criterion, Direction, ImagingStudyParam, SortKey};
use fhir_r4::types::ImagingStudy;

/// Maximum number of windows that one request reads, for windows without rows.
const MAX_WINDOWS: usize = 32;

/// Maximum number of attempts to find the first window that is short enough: each attempt halves it.
const MAX_ATTEMPTS: usize = 64;

/// The number of rows that a window shall have, if there are more: those of one response.
const WANTED_ROWS: usize = 500;

/// The factor by which a window of one day may exceed `search.max_scan`: it contains parts of three days of local time.
const DAYS_AROUND_A_DAY: usize = 3;

/// A part of the list in the order of the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum ListSection {
    /// The studies that start in this window.
    Days(DayWindow),
    /// The studies without a date, which come last.
    Undated,
}

impl ListSection {
    /// Returns the section with a match at `position`: its day, or the studies without a date.
    fn of(position: &SortPosition) -> Self {
        position.day().map_or(Self::Undated, |day| Self::Days(DayWindow::of_day(day)))
    }

    fn contains(self, position: &SortPosition) -> bool {
        match (self, position.day()) {
            (Self::Days(window), Some(day)) => window.contains(day),
            (Self::Undated, None) => true,
            _ => false,
        }
    }
}

/// The position of a page whose matches are read in windows of days.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowPosition {
    /// The section in which reading begins.
    section: ListSection,
    /// The position after which the page begins, or before which it ends.
    position: SortPosition,
    /// Whether a match at the position is on the page.
    includes_position: bool,
    /// Whether the page ends at the position.
    is_backward: bool,
}

/// The reason why a page was not read in windows of days.
#[derive(Debug)]
pub(super) enum WindowError {
    /// The list cannot be divided into windows. The list of the archive in its own order may be readable.
    Unusable(StudiesError),
    /// The search failed.
    Failed(StudiesError),
}

impl From<StudiesError> for WindowError {
    fn from(error: StudiesError) -> Self {
        Self::Failed(error)
    }
}

/// A study that may match.
struct Candidate {
    section: ListSection,
    position: SortPosition,
    uid: StudyUid,
}

/// A match on the page.
struct Match {
    section: ListSection,
    position: SortPosition,
    study: FoundStudy,
}

/// The place at which a page ends before the list does: the next page begins in the section after the position.
struct WindowedPageEnd {
    section: ListSection,
    position: SortPosition,
}

/// The reader of one page.
struct PageReader<'a> {
    studies: &'a Studies,
    search: &'a StudySearch<'a>,
    access: &'a Access,
    freshness: Freshness,
    keys: &'a [SortKey<ImagingStudy>],
    directions: Vec<Direction>,
    lists: DatedLists<'a>,
    /// The position at which the page begins in the direction of reading; `None` at the first page.
    start: Option<WindowPosition>,
    /// Whether the page is read from its end.
    is_backward: bool,
    /// The candidates that follow the matches and have not been compared, in the direction of reading.
    candidates: Vec<Candidate>,
    /// The rows of the same sections that have no acceptable UID, with their positions.
    rows_without_uid: Vec<(SortPosition, RowWithoutUid)>,
    /// The number of studies in the sections that were read.
    study_count: usize,
    /// The matches in the direction of reading.
    matches: Vec<Match>,
    page: StudyPage,
    /// The number of studies that were fetched to be compared.
    opened_count: usize,
}

impl Studies {
    /// Reads one page of a search that is sorted by the start of the studies.
    pub(super) async fn read_windowed_page(
        &self,
        search: &StudySearch<'_>,
        access: &Access,
        freshness: Freshness,
    ) -> Result<StudyPage, WindowError> {
        let start_at = |position: &SortPosition, is_backward| WindowPosition {
            section: ListSection::of(position),
            position: position.clone(),
            includes_position: false,
            is_backward,
        };
        let start = match search.cursor {
            Some(Cursor::InWindow(position)) => Some(position.clone()),
            Some(Cursor::After(position)) => Some(start_at(position, false)),
            Some(Cursor::Before(position)) => Some(start_at(position, true)),
            Some(Cursor::At(_)) | None => None,
        };
        let keys = search.sort_keys();
        let reader = PageReader {
            studies: self,
            search,
            access,
            freshness,
            keys,
            directions: keys.iter().map(SortKey::direction).collect(),
            lists: DatedLists::read(self, search.criteria, scan_freshness(search, freshness)).await?,
            is_backward: start.as_ref().is_some_and(|start| start.is_backward),
            start,
            candidates: Vec::new(),
            rows_without_uid: Vec::new(),
            study_count: 0,
            matches: Vec::new(),
            page: StudyPage::default(),
            opened_count: 0,
        };
        reader.read().await
    }
}

impl PageReader<'_> {
    async fn read(mut self) -> Result<StudyPage, WindowError> {
        let end = self.read_sections().await?;
        self.studies.require_an_archive()?;
        let is_backward = self.is_backward;
        let ahead = end.map(|WindowedPageEnd { section, position }| WindowPosition {
            section,
            position,
            includes_position: false,
            is_backward,
        });
        let behind = self.start.map(|start| match self.matches.first() {
            Some(first) => WindowPosition {
                section: first.section,
                position: first.position.clone(),
                includes_position: false,
                is_backward: !is_backward,
            },
            None => WindowPosition {
                section: ListSection::of(&start.position),
                position: start.position,
                includes_position: !start.includes_position,
                is_backward: !is_backward,
            },
        });
        let (next, previous) = if is_backward { (behind, ahead) } else { (ahead, behind) };
        let mut studies: Vec<_> = self.matches.into_iter().map(|found| found.study).collect();
        if is_backward {
            studies.reverse();
        }
        let (next, previous) = (next.map(Cursor::InWindow), previous.map(Cursor::InWindow));
        Ok(StudyPage { studies, previous, next, ..self.page })
    }

    /// Reads the sections from the start of the page on. Returns the end of the page; `None` at the end of the list.
    async fn read_sections(&mut self) -> Result<Option<WindowedPageEnd>, WindowError> {
        let is_newest_first = self.directions.first() == Some(&Direction::Descending);
        let direction = if is_newest_first == self.is_backward {
            WalkDirection::TowardsFuture
        } else {
            WalkDirection::TowardsPast
        };
        let bounds = DayWindow::around(self.lists.range);
        let today = day_number(TimeZone::UTC.to_datetime(self.studies.clock.now()).date());
        let mut walk = match self.start.as_ref().map(|start| start.section) {
            Some(ListSection::Days(window)) => DateWalk::resume(direction, bounds, today, window),
            Some(ListSection::Undated) => {
                let end = self.read_undated().await?;
                if end.is_some() || !self.is_backward {
                    return Ok(end);
                }
                DateWalk::start(direction, bounds, today)
            }
            None => DateWalk::start(direction, bounds, today),
        };
        let end = self.read_windows(&mut walk).await?;
        if end.is_some() || self.is_backward {
            return Ok(end);
        }
        self.read_undated().await
    }

    /// Reads windows until the page is full, the walk ends, or as much has been read as one request may read.
    async fn read_windows(&mut self, walk: &mut DateWalk) -> Result<Option<WindowedPageEnd>, WindowError> {
        let max_scan = self.studies.limits.max_scan;
        let wanted = WANTED_ROWS.max(4 * self.search.count).min(max_scan / 2).max(1);
        let (mut window_count, mut attempts) = (0, 0);
        let start_day = self.start.as_ref().and_then(|start| start.position.day());
        while let Some(window) = walk.window() {
            attempts += 1;
            let is_exhausted = self.study_count >= max_scan || window_count >= MAX_WINDOWS;
            if self.candidates.len() >= self.free_count() || is_exhausted || attempts > MAX_ATTEMPTS {
                if let Some(end) = self.compare_candidates().await? {
                    return Ok(Some(end));
                }
                if self.free_count() == 0 {
                    return Ok(self.end_before(window));
                }
                if is_exhausted || attempts > MAX_ATTEMPTS {
                    return self.end_early(window);
                }
            }
            let max_rows = if window.is_single_day() { DAYS_AROUND_A_DAY * max_scan } else { max_scan };
            let freshness = scan_freshness(self.search, self.freshness);
            match self.lists.read_window(self.studies, window, max_rows, freshness).await? {
                WindowRows::Read(rows, row_count) => {
                    window_count += 1;
                    self.add_candidates(ListSection::Days(window), rows).await?;
                    walk.advance(row_count, wanted);
                }
                WindowRows::TooLong { archive, days } => {
                    if start_day.is_some_and(|day| walk.skip_to(day)) {
                        continue;
                    }
                    let day = most_frequent_day(&days).or(window.first).or(window.last);
                    if walk.narrow(days) {
                        continue;
                    }
                    if self.start.is_some() {
                        if let Some(end) = self.compare_candidates().await? {
                            return Ok(Some(end));
                        }
                        if !self.matches.is_empty() {
                            return self.end_early(window);
                        }
                    }
                    let (limit, day) = (DAYS_AROUND_A_DAY * max_scan, date_of(day.unwrap_or_default()));
                    return Err(WindowError::Unusable(StudiesError::TooManyOnDay { archive, limit, day }));
                }
            }
        }
        // An archive that does not understand ranges of dates may return no row for any of them.
        if self.start.is_none()
            && let Some(error) = self.lists.error_without_rows(max_scan)
        {
            return Err(WindowError::Unusable(error));
        }
        Ok(self.compare_candidates().await?)
    }

    /// Reads the studies without a date, of which only those of short lists are known.
    async fn read_undated(&mut self) -> Result<Option<WindowedPageEnd>, WindowError> {
        if !may_match_undated(self.search.criteria) {
            return Ok(None);
        }
        let rows = self.lists.undated_rows();
        self.add_candidates(ListSection::Undated, rows).await?;
        let end = self.compare_candidates().await?;
        if end.is_none() {
            self.page.without_undated_studies = self.lists.long_lists().collect();
        }
        Ok(end)
    }

    /// Returns the number of matches that the page lacks.
    fn free_count(&self) -> usize {
        self.search.count - self.matches.len()
    }

    /// Returns the end of a page whose next page begins with `window`; `None` if the page has neither a match nor a start.
    fn end_before(&self, window: DayWindow) -> Option<WindowedPageEnd> {
        self.end_in(ListSection::Days(window))
    }

    /// Returns the end of a page after its last match, or at its start, whose next page begins with `section`.
    fn end_in(&self, section: ListSection) -> Option<WindowedPageEnd> {
        let last = self.matches.last().map(|last| &last.position);
        let position = last.or(self.start.as_ref().map(|start| &start.position))?;
        Some(WindowedPageEnd { section, position: position.clone() })
    }

    /// Ends the page before `window`, because as much has been read as one request may read.
    fn end_early(&mut self, window: DayWindow) -> Result<Option<WindowedPageEnd>, WindowError> {
        self.page.is_short = true;
        let end = self.end_before(window);
        match self.lists.any_long_list() {
            Some(archive) if end.is_none() => {
                Err(StudiesError::TooManyRows { archive, limit: self.studies.limits.max_scan }.into())
            }
            _ => Ok(end),
        }
    }
}

/// Returns the freshness of lists: a search that needs versions queries the archives.
fn scan_freshness(search: &StudySearch<'_>, freshness: Freshness) -> Freshness {
    if needs_versions(search.criteria, search.sort) { Freshness::Bypass } else { freshness }
}

/// Whether a study without a date can match: a criterion that compares the start does not match it.
fn may_match_undated(criteria: &[Criterion<ImagingStudy>]) -> bool {
    criteria.iter().all(|criterion| {
        let compares_date = matches!(criterion.comparison, Comparison::Date(_) | Comparison::Missing(false));
        criterion.parameter.key != ImagingStudyParam::Started || !compares_date
    })
}

fn most_frequent_day(days: &[i32]) -> Option<i32> {
    let mut days = days.to_vec();
    days.sort_unstable();
    days.chunk_by(|one, other| one == other).max_by_key(|equal| equal.len())?.first().copied()
}

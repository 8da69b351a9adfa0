//! Divides time into windows of days, in which the studies of a list that is too long to be read as a whole are read in the order of
//! their start.
//!
//! A day is a day of UTC, as a number that counts from 1970-01-01. The start of a study is an instant, but archives compare dates in
//! local time, which is up to [`MARGIN`] days away from UTC. So a query for a window extends over more days than the window, and
//! what does not belong to the window is omitted.
//!
//! The first and the last window have no bound, so that every date is in one of them: the year 1, the year 9999 and the future. The
//! windows grow while they contain few rows. A window that contains too many is narrowed, down to one day. This module reads nothing and knows
//! no archive.

use jiff::ToSpan;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::plan::DateRange;

/// The number of days by which the local date of an instant can differ from the date in UTC: offsets are between -12 and +14 hours.
const MARGIN: i32 = 1;

/// The day from which dates are counted.
const EPOCH: Date = Date::constant(1970, 1, 1);

/// The first day of a window before which a window has no bound, because hardly any study is older: the year in which X-rays had been
/// known for five years.
const EARLIEST_USUAL_DAY: Date = Date::constant(1900, 1, 1);

/// The first and the last day that a DICOM date can express.
const DATE_LIMITS: (Date, Date) = (Date::constant(1, 1, 1), Date::constant(9999, 12, 31));

/// Maximum factor by which a window is longer than the one before it.
const MAX_GROWTH: usize = 16;

/// The part of the rows of a window that a narrowed window shall contain, as a divisor.
const NARROWED_PART: usize = 64;

/// How often a window without a first day is narrowed as if the earliest of its rows were among those that were read. Archives that list
/// the newest studies first return only late ones.
const MAX_NARROWED_BY_ROWS: u32 = 3;

/// Returns the number of a day.
pub(super) fn day_number(date: Date) -> i32 {
    EPOCH.until(date).map_or(0, |span| span.get_days())
}

/// Returns the day with a number; the first or the last day that a DICOM date can express if the number is out of range.
pub(super) fn date_of(day: i32) -> Date {
    let (first, last) = DATE_LIMITS;
    EPOCH.saturating_add(day.days()).clamp(first, last)
}

/// A window of days. `None` means that there is no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DayWindow {
    pub(super) first: Option<i32>,
    pub(super) last: Option<i32>,
}

impl DayWindow {
    /// Returns the window of one day.
    pub(super) fn of_day(day: i32) -> Self {
        Self { first: Some(day), last: Some(day) }
    }

    /// Returns the window in which every study starts that has a date in `range`.
    pub(super) fn around(range: DateRange) -> Self {
        Self {
            first: range.first.map(|date| day_number(date.civil()) - MARGIN),
            last: range.last.map(|date| day_number(date.civil()) + MARGIN),
        }
    }

    /// Returns the dates that studies can have that start in the window.
    pub(super) fn dates(self) -> DateRange {
        let (first_date, last_date) = DATE_LIMITS;
        let first = self.first.map(|day| day - MARGIN).filter(|day| *day > day_number(first_date));
        let last = self.last.map(|day| day + MARGIN).filter(|day| *day < day_number(last_date));
        DateRange { first: first.map(|day| date_of(day).into()), last: last.map(|day| date_of(day).into()) }
    }

    /// Whether a study that starts on `day` belongs to the window.
    pub(super) fn contains(self, day: i32) -> bool {
        self.first.is_none_or(|first| first <= day) && self.last.is_none_or(|last| day <= last)
    }

    /// Whether the window is one day, which cannot be narrowed.
    pub(super) fn is_single_day(self) -> bool {
        self.first.zip(self.last).is_some_and(|(first, last)| first >= last)
    }

    /// Returns the number of days, or 1 if it has no bound.
    fn length(self) -> i32 {
        self.first.zip(self.last).map_or(1, |(first, last)| last - first + 1)
    }
}

/// The direction in which windows follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WalkDirection {
    TowardsPast,
    TowardsFuture,
}

/// A walk over the windows between two bounds. The windows together contain each day between the bounds once.
#[derive(Debug, Clone)]
pub(super) struct DateWalk {
    direction: WalkDirection,
    bounds: DayWindow,
    today: i32,
    window: Option<DayWindow>,
    /// The last day, in the direction of the walk, of the last window that was narrowed.
    narrowed_until: Option<i32>,
    /// How often the window was narrowed.
    narrowed_count: u32,
}

impl DateWalk {
    /// Begins a walk at the latest or the earliest day of `bounds`. Without a latest day, the first window is today and later.
    pub(super) fn start(direction: WalkDirection, bounds: DayWindow, today: i32) -> Self {
        let DayWindow { first, last } = bounds;
        let window = match direction {
            WalkDirection::TowardsPast => {
                let latest = last.map_or(today, |last| today.min(last - MARGIN));
                DayWindow { first: Some(first.map_or(latest, |first| latest.max(first))), last }
            }
            WalkDirection::TowardsFuture => {
                let earliest = first.map_or(today - 1, |first| first + MARGIN);
                DayWindow { first, last: Some(last.map_or(earliest, |last| earliest.min(last))) }
            }
        };
        Self { direction, bounds, today, window: Some(window), narrowed_until: None, narrowed_count: 0 }
    }

    /// Continues a walk at `window`.
    pub(super) fn resume(direction: WalkDirection, bounds: DayWindow, today: i32, window: DayWindow) -> Self {
        Self { direction, bounds, today, window: Some(window), narrowed_until: None, narrowed_count: 0 }
    }

    /// Returns the window to be read; `None` after the last window.
    pub(super) fn window(&self) -> Option<DayWindow> {
        self.window
    }

    /// Proceeds to the window after one that contained `row_count` rows. The next window is so long that it contains about
    /// `wanted_count` rows if the days are similar.
    pub(super) fn advance(&mut self, row_count: usize, wanted_count: usize) {
        let Some(window) = self.window else { return };
        // All rows of a narrowed window are in the rest of it if its first part is empty.
        let rest = match (self.direction, self.narrowed_until) {
            (WalkDirection::TowardsPast, Some(until)) => window.first.map_or(0, |first| first - until),
            (WalkDirection::TowardsFuture, Some(until)) => window.last.map_or(0, |last| until - last),
            (_, None) => 0,
        };
        let ratio = wanted_count.checked_div(row_count).unwrap_or(MAX_GROWTH);
        let length = match ratio {
            _ if row_count == 0 && rest > 0 => (rest / 2).max(1),
            0 if row_count / 2 > wanted_count => (window.length() / 2).max(1),
            0 | 1 => window.length(),
            ratio => {
                let growth = i32::try_from(ratio.min(MAX_GROWTH)).unwrap_or(1);
                window.length().saturating_mul(growth)
            }
        };
        self.narrowed_count = 0;
        self.window = match self.direction {
            WalkDirection::TowardsPast => self.earlier_window(window, length),
            WalkDirection::TowardsFuture => self.later_window(window, length),
        };
    }

    fn earlier_window(&self, window: DayWindow, length: i32) -> Option<DayWindow> {
        let last = window.first? - 1;
        let first = last.saturating_sub(length - 1);
        match self.bounds.first {
            Some(bound) if last < bound => None,
            Some(bound) => Some(DayWindow { first: Some(first.max(bound)), last: Some(last) }),
            None if first < day_number(EARLIEST_USUAL_DAY) => {
                Some(DayWindow { first: None, last: Some(last) })
            }
            None => Some(DayWindow { first: Some(first), last: Some(last) }),
        }
    }

    fn later_window(&self, window: DayWindow, length: i32) -> Option<DayWindow> {
        let first = window.last? + 1;
        let last = first.saturating_add(length - 1);
        match self.bounds.last {
            Some(bound) if first > bound => None,
            Some(bound) => Some(DayWindow { first: Some(first), last: Some(last.min(bound)) }),
            None if last >= self.today => Some(DayWindow { first: Some(first), last: None }),
            None => Some(DayWindow { first: Some(first), last: Some(last) }),
        }
    }

    /// Omits the days of the window that precede `day` in the direction of the walk. Returns whether there are any.
    pub(super) fn skip_to(&mut self, day: i32) -> bool {
        let Some(window) = self.window.filter(|window| window.contains(day)) else { return false };
        let day = DayWindow::of_day(day);
        let skipped = match self.direction {
            WalkDirection::TowardsPast => DayWindow { last: day.last, ..window },
            WalkDirection::TowardsFuture => DayWindow { first: day.first, ..window },
        };
        self.window = Some(skipped);
        skipped != window
    }

    /// Replaces the window, which contains too many rows, by its part that comes first in the walk: at most half of it, and less if
    /// `days`, on which some of the rows are, show that most of the rows are there. Returns whether the window could be narrowed.
    pub(super) fn narrow(&mut self, mut days: Vec<i32>) -> bool {
        let Some(window) = self.window.filter(|window| !window.is_single_day()) else { return false };
        days.sort_unstable();
        let (earliest, latest) = DATE_LIMITS;
        let (earliest, latest) = (day_number(earliest), day_number(latest));
        let high = window.last.or(days.last().copied()).unwrap_or(self.today).clamp(earliest, latest);
        let high = high.max(window.first.unwrap_or(earliest));
        let earliest_read = days.first().copied().filter(|_| self.narrowed_count < MAX_NARROWED_BY_ROWS);
        let low = window.first.or(earliest_read).unwrap_or(if high > 0 { 0 } else { earliest });
        let half = (high - low) / 2;
        let rank = days.len() / NARROWED_PART;
        let narrowed = match self.direction {
            WalkDirection::TowardsPast => {
                let populated = days.iter().rev().nth(rank).copied().unwrap_or(low);
                let first = (high - half).max(populated);
                let first = window.first.map_or(first, |bound| first.max(bound + 1));
                DayWindow { first: Some(window.last.map_or(first, |last| first.min(last))), ..window }
            }
            WalkDirection::TowardsFuture => {
                let populated = days.get(rank).copied().unwrap_or(high);
                let last = (low + half).min(populated);
                let last = window.last.map_or(last, |bound| last.min(bound - 1));
                DayWindow { last: Some(window.first.map_or(last, |first| last.max(first))), ..window }
            }
        };
        let is_possible = narrowed != window && narrowed.last.is_none_or(|last| last >= earliest - MARGIN);
        if is_possible {
            self.window = Some(narrowed);
            self.narrowed_count += 1;
            self.narrowed_until = match self.direction {
                WalkDirection::TowardsPast => Some(low),
                WalkDirection::TowardsFuture => Some(high),
            };
        }
        is_possible
    }
}

#[cfg(test)]
mod tests;

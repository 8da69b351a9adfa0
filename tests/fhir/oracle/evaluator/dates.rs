//! The comparison of dates as intervals of nanoseconds (R4 search#date and the table in search#prefix).

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{Span, Timestamp, ToSpan};

/// The interval of a date, as the number of its first and of its last nanosecond.
#[derive(Debug, Clone, Copy)]
pub(super) struct Interval {
    start: i128,
    end: i128,
}

/// Parses a date. Returns its beginning, the length of its interval, and its offset if it has one.
fn parse_parts(text: &str) -> Option<(DateTime, Span, Option<Offset>)> {
    let Some((date, time)) = text.split_once('T') else {
        let (date, unit) = match text.len() {
            4 => (format!("{text}-01-01"), 1.year()),
            7 => (format!("{text}-01"), 1.month()),
            _ => (text.to_owned(), 1.day()),
        };
        return Some((format!("{date}T00:00:00").parse().ok()?, unit, None));
    };
    let offset_index = time.find(['Z', '+', '-']).unwrap_or(time.len());
    let (time_of_day, offset) = time.split_at(offset_index);
    let (time_of_day, unit) = match time_of_day.len() {
        5 => (format!("{time_of_day}:00"), 1.minute()),
        8 => (time_of_day.to_owned(), 1.second()),
        length => (time_of_day.to_owned(), 10_i64.pow(9 - u32::try_from(length - 9).ok()?).nanoseconds()),
    };
    let offset = match offset {
        "" => None,
        "Z" => Some(Offset::UTC),
        offset => {
            let minutes = offset[1..3].parse::<i32>().ok()? * 60 + offset[4..6].parse::<i32>().ok()?;
            let sign = if offset.starts_with('-') { -60 } else { 60 };
            Some(Offset::from_seconds(sign * minutes).ok()?)
        }
    };
    Some((format!("{date}T{time_of_day}").parse().ok()?, unit, offset))
}

impl Interval {
    /// Returns the beginning as a text whose order is chronological.
    pub(super) fn sort_key(self) -> String {
        format!("{:040}", self.start + i128::from(u64::MAX) * 1000)
    }

    /// Parses a date. If it has no offset, its offset is `default_offset`, or UTC.
    pub(super) fn parse(text: &str, default_offset: Option<Offset>) -> Option<Self> {
        let (start, unit, offset) = parse_parts(text)?;
        let zone = TimeZone::fixed(offset.or(default_offset).unwrap_or(Offset::UTC));
        let timestamp = |date_time: DateTime| zone.to_timestamp(date_time).ok();
        let end = timestamp(start.checked_add(unit).ok()?)?;
        Some(Self { start: timestamp(start)?.as_nanosecond(), end: end.as_nanosecond() - 1 })
    }
}

/// Whether the date of a resource matches a search value, which may have a prefix.
pub(super) fn matches(search_value: &str, date: &str) -> bool {
    let (prefix, search_date) = match search_value.chars().next() {
        Some(character) if character.is_ascii_lowercase() => search_value.split_at(2),
        _ => ("eq", search_value),
    };
    // A search value without an offset has the offset of the resource.
    let Some((_, _, offset)) = parse_parts(date) else { return false };
    let (Some(search), Some(resource)) = (Interval::parse(search_date, offset), Interval::parse(date, None))
    else {
        return false;
    };
    // A dateTime with a time is an instant, because R4 requires its seconds.
    let resource =
        if date.contains('T') { Interval { start: resource.start, end: resource.start } } else { resource };
    let contains = search.start <= resource.start && resource.end <= search.end;
    match prefix {
        "eq" => contains,
        "ne" => !contains,
        "gt" => resource.end > search.end,
        "lt" => resource.start < search.start,
        "ge" => resource.end >= search.start,
        "le" => resource.start <= search.end,
        "sa" => resource.start > search.end,
        "eb" => resource.end < search.start,
        "ap" => {
            let tolerance = (Timestamp::now().as_nanosecond() - search.start).abs() / 10;
            resource.start <= search.end + tolerance && resource.end >= search.start - tolerance
        }
        other => panic!("{other} is not a prefix"),
    }
}

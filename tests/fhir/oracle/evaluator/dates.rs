//! Dates as intervals of nanoseconds (R4 search#date, the table of search#prefix).

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{Span, Timestamp, ToSpan};

/// The first and the last nanosecond of a date. The date of a resource is a point in time if it has a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Interval(i128, i128);

/// The beginning of a date, its length, and its offset if it has one.
fn parts(text: &str) -> Option<(DateTime, Span, Option<Offset>)> {
    let Some((date, time)) = text.split_once('T') else {
        let (whole, unit) = match text.len() {
            4 => (format!("{text}-01-01"), 1.year()),
            7 => (format!("{text}-01"), 1.month()),
            _ => (text.to_owned(), 1.day()),
        };
        return Some((format!("{whole}T00:00:00").parse().ok()?, unit, None));
    };
    let zone = time.find(['Z', '+', '-']).unwrap_or(time.len());
    let (clock, zone) = time.split_at(zone);
    let (clock, unit) = match clock.len() {
        5 => (format!("{clock}:00"), 1.minute()),
        8 => (clock.to_owned(), 1.second()),
        length => (clock.to_owned(), 10_i64.pow(9 - u32::try_from(length - 9).ok()?).nanoseconds()),
    };
    let offset = match zone {
        "" => None,
        "Z" => Some(Offset::UTC),
        zone => {
            let minutes = zone[1..3].parse::<i32>().ok()? * 60 + zone[4..6].parse::<i32>().ok()?;
            let sign = if zone.starts_with('-') { -60 } else { 60 };
            Some(Offset::from_seconds(sign * minutes).ok()?)
        }
    };
    Some((format!("{date}T{clock}").parse().ok()?, unit, offset))
}

impl Interval {
    /// Its beginning as a text that sorts chronologically.
    pub(super) fn in_order(self) -> String {
        format!("{:040}", self.0 + i128::from(u64::MAX) * 1000)
    }

    /// The interval of a date, in `zone` if the text has no offset, in UTC if there is no `zone` either.
    pub(super) fn of(text: &str, zone: Option<Offset>) -> Option<Self> {
        let (first, unit, offset) = parts(text)?;
        let zone = TimeZone::fixed(offset.or(zone).unwrap_or(Offset::UTC));
        let at = |moment: DateTime| zone.to_timestamp(moment).ok();
        let end = at(first.checked_add(unit).ok()?)?;
        Some(Self(at(first)?.as_nanosecond(), end.as_nanosecond() - 1))
    }
}

/// Whether a resource's date matches a search value with its prefix.
pub(super) fn matches(wanted: &str, date: &str) -> bool {
    let (prefix, wanted) = match wanted.chars().next() {
        Some(first) if first.is_ascii_lowercase() => wanted.split_at(2),
        _ => ("eq", wanted),
    };
    // A search value without an offset is in the zone of the resource.
    let Some((_, _, zone)) = parts(date) else { return false };
    let (Some(s), Some(t)) = (Interval::of(wanted, zone), Interval::of(date, None)) else { return false };
    // R4 requires seconds of a dateTime with a time.
    let t = if date.contains('T') { Interval(t.0, t.0) } else { t };
    let contains = s.0 <= t.0 && t.1 <= s.1;
    match prefix {
        "eq" => contains,
        "ne" => !contains,
        "gt" => t.1 > s.1,
        "lt" => t.0 < s.0,
        "ge" => t.1 >= s.0,
        "le" => t.0 <= s.1,
        "sa" => t.0 > s.1,
        "eb" => t.1 < s.0,
        "ap" => {
            let about = (Timestamp::now().as_nanosecond() - s.0).abs() / 10;
            t.0 <= s.1 + about && t.1 >= s.0 - about
        }
        other => panic!("{other} is not a prefix"),
    }
}

//! FHIR dates (R4 datatypes#dateTime) and their comparison in a search (R4 search#date, search#prefix).
//!
//! A date is the interval from its first to its last instant at its precision. The date of a resource is one instant if it has
//! seconds: R4 requires seconds in every time of day, so programs write zeros for unknown seconds, and the same instant with
//! different numbers of fraction digits. A search value with fewer digits, or with additional zeros, matches this instant. If one
//! side of a comparison has no time zone, it is read in the zone of the other side, so "the fifth of May" means the local day of the
//! study; if neither has one, both are read in the zone that the caller passes. This module does not know about DICOM dates or the
//! clock.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone};
use jiff::{Span, Timestamp, ToSpan};

/// A date or date-time with its original precision.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FhirDate {
    first: DateTime,
    precision: Precision,
    offset: Option<Offset>,
}

/// The smallest unit that a date specifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Precision {
    Year,
    Month,
    Day,
    Minute,
    Second,
    /// A fraction of a second with this number of digits.
    Fraction(u8),
}

impl FhirDate {
    /// Parses `yyyy[-mm[-dd[Thh:mm[:ss[.f…]][Z|±hh:mm]]]]`; `None` if it is not a valid date.
    ///
    /// ```
    /// use fhir_r4::date::FhirDate;
    /// assert!(FhirDate::parse("2024-02").is_some());
    /// assert!(FhirDate::parse("2024-02-29T11:30+01:00").is_some());
    /// assert!(FhirDate::parse("2023-02-29").is_none());
    /// ```
    pub fn parse(text: &str) -> Option<Self> {
        let (date, time) = match text.split_once('T') {
            Some((date, time)) => (date, Some(time)),
            None => (text, None),
        };
        let mut parts = date.split('-');
        let year = parse_digits(parts.next()?, 4)?;
        let month = parts.next().map(|part| parse_digits(part, 2));
        let day = parts.next().map(|part| parse_digits(part, 2));
        if parts.next().is_some() || month == Some(None) || day == Some(None) {
            return None;
        }
        let (month, day) = (month.flatten(), day.flatten());
        let part = |part: Option<i16>| i8::try_from(part.unwrap_or(1)).ok();
        let date = Date::new(year.max(1), part(month)?, part(day)?).ok().filter(|_| year > 0)?;
        match time {
            None => {
                let precision = match (month, day) {
                    (None, _) => Precision::Year,
                    (_, None) => Precision::Month,
                    _ => Precision::Day,
                };
                Some(Self { first: date.at(0, 0, 0, 0), precision, offset: None })
            }
            Some(_) if day.is_none() => None,
            Some(time) => {
                let (time, offset) = split_offset(time)?;
                let (time, precision) = parse_time(time)?;
                Some(Self { first: date.to_datetime(time), precision, offset })
            }
        }
    }

    /// Whether the date has a time zone offset.
    pub fn has_zone(&self) -> bool {
        self.offset.is_some()
    }

    /// Returns the first instant, read in `zone` if the date has no offset.
    pub fn first_instant(&self, zone: &TimeZone) -> Timestamp {
        self.interval(zone).low
    }

    /// Returns the last instant, read in `zone` if the date has no offset.
    pub fn last_instant(&self, zone: &TimeZone) -> Timestamp {
        self.interval(zone).high
    }

    /// Whether the date has a time of day.
    pub fn has_time(&self) -> bool {
        self.precision >= Precision::Minute
    }

    /// Returns the length of the interval, for example a year, a day or a millisecond.
    fn unit(&self) -> Span {
        match self.precision {
            Precision::Year => 1.year(),
            Precision::Month => 1.month(),
            Precision::Day => 1.day(),
            Precision::Minute => 1.minute(),
            Precision::Second => 1.second(),
            Precision::Fraction(digits) => 10_i64.pow(u32::from(9 - digits.min(9))).nanoseconds(),
        }
    }

    /// Returns the last instant in local time.
    fn last(&self) -> DateTime {
        let next = self.first.checked_add(self.unit());
        next.and_then(|next| next.checked_sub(1.nanosecond())).unwrap_or(DateTime::MAX)
    }

    /// Returns the first and the last instant. If clocks are set back, both occurrences of the repeated hour belong to the
    /// interval; a skipped hour is read as if clocks had not been changed.
    fn interval(&self, zone: &TimeZone) -> Interval {
        let (first, last) = match self.offset {
            Some(offset) => (offset.to_timestamp(self.first), offset.to_timestamp(self.last())),
            None => (
                zone.to_ambiguous_timestamp(self.first).compatible(),
                zone.to_ambiguous_timestamp(self.last()).later(),
            ),
        };
        // Years are positive, so only the last days of 9999 are outside the range of a timestamp.
        let low = first.unwrap_or(Timestamp::MAX);
        Interval { low, high: last.unwrap_or(Timestamp::MAX).max(low) }
    }

    /// Returns the interval that the date covers as the date of a resource: one instant if it has seconds.
    fn resource_interval(&self, zone: &TimeZone) -> Interval {
        let interval = self.interval(zone);
        if self.precision < Precision::Second {
            return interval;
        }
        // Without an offset, a time in a repeated hour is one of two instants.
        let high = match self.offset {
            Some(_) => interval.low,
            None => zone.to_ambiguous_timestamp(self.first).later().unwrap_or(interval.low),
        };
        Interval { high: high.max(interval.low), ..interval }
    }

    /// Returns the first and the last local calendar day that the date can overlap in any time zone: R4 allows offsets of up to
    /// 14 hours in both directions.
    pub fn day_bounds(&self) -> (Date, Date) {
        let (mut first, mut last) = (self.first, self.last());
        // Without an offset, the date itself consists of local days.
        if let Some(offset) = self.offset {
            let to_utc = i64::from(-offset.seconds()).seconds();
            first = first
                .saturating_add(to_utc)
                .saturating_sub(14.hours())
                .max(DateTime::constant(1, 1, 1, 0, 0, 0, 0));
            last = last.saturating_add(to_utc).saturating_add(14.hours());
        }
        (first.date(), last.date())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Interval {
    low: Timestamp,
    high: Timestamp,
}

fn parse_digits(text: &str, length: usize) -> Option<i16> {
    (text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

/// Splits `Z` or `±hh:mm` from the end; `None` if the offset is invalid.
fn split_offset(text: &str) -> Option<(&str, Option<Offset>)> {
    if let Some(time) = text.strip_suffix('Z') {
        return Some((time, Some(Offset::UTC)));
    }
    let Some(index) = text.rfind(['+', '-']) else { return Some((text, None)) };
    let (time, offset) = text.split_at_checked(index)?;
    let (sign, rest) = offset.split_at_checked(1)?;
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes) = (i32::from(parse_digits(hours, 2)?), i32::from(parse_digits(minutes, 2)?));
    let seconds = (hours * 60 + minutes) * 60;
    if minutes > 59 || seconds > 14 * 3600 {
        return None;
    }
    Offset::from_seconds(if sign == "-" { -seconds } else { seconds }).ok().map(|offset| (time, Some(offset)))
}

/// Parses a time of day. Minutes are required (R4 search#date); seconds are optional. The leap second that R4's pattern allows is
/// read as the second before it.
fn parse_time(text: &str) -> Option<(Time, Precision)> {
    let (seconds_part, fraction) = match text.split_once('.') {
        Some((seconds_part, fraction)) => (seconds_part, Some(fraction)),
        None => (text, None),
    };
    let parts = seconds_part.split(':').map(|part| parse_digits(part, 2)).collect::<Option<Vec<_>>>()?;
    let part = |index: usize| i8::try_from(*parts.get(index).unwrap_or(&0)).ok();
    let (hour, minute, second) = (part(0)?, part(1)?, part(2)?);
    let second = if second == 60 { 59 } else { second };
    let (nanosecond, precision) = match (parts.len(), fraction) {
        (2, None) => (0, Precision::Minute),
        (3, None) => (0, Precision::Second),
        (3, Some(fraction)) if !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit()) => {
            // Digits beyond nanoseconds are truncated.
            let fraction = fraction.get(..9).unwrap_or(fraction);
            let length = u8::try_from(fraction.len()).ok()?;
            (format!("{fraction:0<9}").parse().ok()?, Precision::Fraction(length))
        }
        _ => return None,
    };
    Some((Time::new(hour, minute, second, nanosecond).ok()?, precision))
}

/// The comparison of a search value (R4 search#prefix).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Prefix {
    /// The value contains the date of the resource.
    #[default]
    Equal,
    /// The value does not contain the date of the resource.
    NotEqual,
    /// The date of the resource ends after the value.
    Greater,
    /// The date of the resource begins before the value.
    Less,
    /// Greater or contained in the value.
    GreaterOrEqual,
    /// Less or contained in the value.
    LessOrEqual,
    /// The date of the resource begins after the end of the value.
    StartsAfter,
    /// The date of the resource ends before the beginning of the value.
    EndsBefore,
    /// The value, extended at both ends by one tenth of its distance to now, overlaps the date of the resource.
    Approximately,
}

impl Prefix {
    const CODES: [(&'static str, Self); 9] = [
        ("eq", Self::Equal),
        ("ne", Self::NotEqual),
        ("gt", Self::Greater),
        ("lt", Self::Less),
        ("ge", Self::GreaterOrEqual),
        ("le", Self::LessOrEqual),
        ("sa", Self::StartsAfter),
        ("eb", Self::EndsBefore),
        ("ap", Self::Approximately),
    ];

    /// Splits the prefix from `text`.
    pub fn split(text: &str) -> (Self, &str) {
        for (code, prefix) in Self::CODES {
            if let Some(rest) = text.strip_prefix(code) {
                return (prefix, rest);
            }
        }
        (Self::Equal, text)
    }
}

/// Whether the `date` of a resource matches `search` with `prefix`. `zone` applies if neither date has an offset; `now`
/// is used by `ap`.
pub fn matches(prefix: Prefix, search: &FhirDate, date: &FhirDate, zone: &TimeZone, now: Timestamp) -> bool {
    let fixed = |offset: Option<Offset>| offset.map(TimeZone::fixed);
    let search_zone = fixed(search.offset.or(date.offset)).unwrap_or_else(|| zone.clone());
    let (search, date) = (search.interval(&search_zone), date.resource_interval(zone));
    let contains = search.low <= date.low && date.high <= search.high;
    match prefix {
        Prefix::Equal => contains,
        Prefix::NotEqual => !contains,
        Prefix::Greater => date.high > search.high,
        Prefix::Less => date.low < search.low,
        Prefix::GreaterOrEqual => date.high >= search.low,
        Prefix::LessOrEqual => date.low <= search.high,
        Prefix::StartsAfter => date.low > search.high,
        Prefix::EndsBefore => date.high < search.low,
        Prefix::Approximately => {
            let tolerance = now.duration_since(search.low).abs() / 10;
            let low = search.low.checked_sub(tolerance).unwrap_or(Timestamp::MIN);
            let high = search.high.checked_add(tolerance).unwrap_or(Timestamp::MAX);
            date.low <= high && date.high >= low
        }
    }
}

#[cfg(test)]
mod tests;

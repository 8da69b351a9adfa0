//! Dates, times and offsets from UTC (PS3.5 6.2: DA, TM; PS3.3 C.12.1.1.8), with the ACR-NEMA spellings that still
//! stand in archives.

use jiff::civil::Date;

/// A calendar date: `20240131`, or `2024.01.31` as ACR-NEMA wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DicomDate(Date);

impl DicomDate {
    /// Reads a DA value; `None` when it is no day of the calendar.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let digits: String = match text.as_bytes() {
            [_, _, _, _, b'.', _, _, b'.', _, _] => text.split('.').collect(),
            _ => text.to_owned(),
        };
        if digits.len() != 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let number = |range| digits.get(range).and_then(|part: &str| part.parse::<i16>().ok());
        let (year, month, day) = (number(0..4)?, number(4..6)?, number(6..8)?);
        Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok().map(Self)
    }

    /// The same day in the calendar's own type.
    pub fn civil(self) -> Date {
        self.0
    }
}

impl From<Date> for DicomDate {
    fn from(date: Date) -> Self {
        Self(date)
    }
}

impl std::fmt::Display for DicomDate {
    /// The DA form: `20240131`.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:04}{:02}{:02}", self.0.year(), self.0.month(), self.0.day())
    }
}

/// A time of day with the precision that was written: `HH`, `HHMM`, `HHMMSS`, `HHMMSS.F…`, or with colons as ACR-NEMA
/// wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DicomTime {
    /// 0 to 23.
    pub hour: i8,
    /// 0 to 59, when written.
    pub minute: Option<i8>,
    /// 0 to 59, when written; a leap second (60) is read as 59, as FHIR instants cannot hold it everywhere.
    pub second: Option<i8>,
    /// Up to six digits of a second, as microseconds, when written.
    pub microsecond: Option<u32>,
}

impl DicomTime {
    /// Reads a TM value; `None` when it is no time of day.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (whole, fraction) = match text.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (text, None),
        };
        let digits: String = match whole.as_bytes() {
            [_, _, b':', _, _] | [_, _, b':', _, _, b':', _, _] => whole.split(':').collect(),
            _ => whole.to_owned(),
        };
        let digits_only = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !matches!(digits.len(), 2 | 4 | 6) || !digits_only(&digits) {
            return None;
        }
        let part = |range| digits.get(range).and_then(|part: &str| part.parse::<i8>().ok());
        let hour = part(0..2).filter(|hour| *hour < 24)?;
        let minute = part(2..4);
        let second = part(4..6).map(|second| if second == 60 { 59 } else { second });
        if minute.is_some_and(|minute| minute > 59) || second.is_some_and(|second| second > 59) {
            return None;
        }
        let microsecond = match fraction {
            None => None,
            Some(_) if second.is_none() => return None,
            Some(fraction) if fraction.is_empty() || fraction.len() > 6 || !digits_only(fraction) => {
                return None;
            }
            Some(fraction) => format!("{fraction:0<6}").parse().ok(),
        };
        Some(Self { hour, minute, second, microsecond })
    }
}

/// Timezone Offset From UTC (0008,0201): `&ZZXX`, −1200 to +1400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UtcOffset {
    minutes: i16,
}

impl UtcOffset {
    /// Reads `+0100` or `-0330`; `None` for anything else, as a guessed offset would move the study in time.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (sign, digits) = match text.split_at_checked(1)? {
            ("+", digits) => (1, digits),
            ("-", digits) => (-1, digits),
            _ => return None,
        };
        if digits.len() != 4 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let hours: i16 = digits.get(..2)?.parse().ok()?;
        let minutes: i16 = digits.get(2..)?.parse().ok()?;
        let total = sign * (hours * 60 + minutes);
        // "-0000" is forbidden by PS3.3 C.12.1.1.8: it stands for "unknown" elsewhere.
        let legal = minutes < 60 && (-12 * 60..=14 * 60).contains(&total) && text != "-0000";
        legal.then_some(Self { minutes: total })
    }

    /// Minutes east of Greenwich.
    pub fn minutes(self) -> i16 {
        self.minutes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dates_are_days_of_the_calendar() {
        let shown = |text| DicomDate::parse(text).map(|date| date.to_string());
        assert_eq!(shown("20240229").as_deref(), Some("20240229"));
        assert_eq!(shown("1994.01.30").as_deref(), Some("19940130"));
        assert_eq!(shown(" 20240131 ").as_deref(), Some("20240131"));
        for no_date in
            ["", "20230229", "20241301", "2024", "202401311", "2024-01-31", "2024.1.31", "+0240131"]
        {
            assert_eq!(shown(no_date), None, "{no_date:?}");
        }
    }

    #[test]
    fn times_keep_the_precision_they_were_written_with() {
        let time = |hour, minute, second, microsecond| Some(DicomTime { hour, minute, second, microsecond });
        assert_eq!(DicomTime::parse("07"), time(7, None, None, None));
        assert_eq!(DicomTime::parse("0730"), time(7, Some(30), None, None));
        assert_eq!(DicomTime::parse("235960"), time(23, Some(59), Some(59), None));
        assert_eq!(DicomTime::parse("165447.788280 "), time(16, Some(54), Some(47), Some(788_280)));
        assert_eq!(DicomTime::parse("165447.7"), time(16, Some(54), Some(47), Some(700_000)));
        assert_eq!(DicomTime::parse("11:25:01"), time(11, Some(25), Some(1), None));
        for no_time in ["", "24", "2460", "123", "1230.5", "123015.", "123015.1234567", "12-30", "1 30"] {
            assert_eq!(DicomTime::parse(no_time), None, "{no_time:?}");
        }
    }

    #[test]
    fn an_offset_is_read_only_when_it_is_written_as_the_standard_says() {
        let minutes = |text| UtcOffset::parse(text).map(UtcOffset::minutes);
        assert_eq!(minutes("+0100"), Some(60));
        assert_eq!(minutes("-0330"), Some(-210));
        assert_eq!(minutes("+0000"), Some(0));
        for no_offset in ["", "0100", "+1", "+1500", "-1300", "+0160", "-0000", "Z", "+01:00"] {
            assert_eq!(minutes(no_offset), None, "{no_offset:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_readers_panic(text in "\\PC{0,16}") {
            let _ = (DicomDate::parse(&text), DicomTime::parse(&text), UtcOffset::parse(&text));
        }

        #[test]
        fn every_day_reads_back_what_was_written(year in 1i16..=9999, month in 1i8..=12, day in 1i8..=28) {
            let date = DicomDate::from(Date::new(year, month, day).unwrap());
            prop_assert_eq!(DicomDate::parse(&date.to_string()), Some(date));
        }
    }
}

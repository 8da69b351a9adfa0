//! Dates, times and offsets from UTC (PS3.5 6.2: DA, TM; PS3.3 C.12.1.1.8), including the ACR-NEMA formats that archives still
//! contain. This module does not know about time zones or FHIR dates.

use jiff::civil::Date;

/// A calendar date: `20240131`, or `2024.01.31` in the ACR-NEMA format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DicomDate(Date);

impl DicomDate {
    /// Reads a DA value; `None` if it is not a valid calendar date.
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

    /// Returns the date as a [`jiff::civil::Date`].
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
    /// Writes the DA form: `20240131`.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:04}{:02}{:02}", self.0.year(), self.0.month(), self.0.day())
    }
}

/// A time of day with its original precision: `HH`, `HHMM`, `HHMMSS`, `HHMMSS.F…`, or with colons in the ACR-NEMA
/// format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DicomTime {
    /// 0 to 23.
    pub hour: i8,
    /// 0 to 59, if present.
    pub minute: Option<i8>,
    /// 0 to 59, if present. A leap second (60) is read as 59, because not every FHIR data type allows it.
    pub second: Option<i8>,
    /// Fraction of the second, if present.
    pub fraction: Option<SecondFraction>,
}

/// A fraction of a second with one to six digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SecondFraction {
    microseconds: u32,
    digits: u8,
}

impl SecondFraction {
    fn parse(digits: &str) -> Option<Self> {
        let length = u8::try_from(digits.len()).ok().filter(|length| (1..=6).contains(length))?;
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        let microseconds = is_number.then(|| format!("{digits:0<6}").parse().ok()).flatten()?;
        Some(Self { microseconds, digits: length })
    }

    /// Returns the fraction in microseconds.
    pub fn microseconds(self) -> u32 {
        self.microseconds
    }
}

impl std::fmt::Display for SecondFraction {
    /// Writes the digits of the value, including zeros at the end, which show its precision.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let six_digits = format!("{:06}", self.microseconds);
        formatter.write_str(six_digits.get(..usize::from(self.digits)).unwrap_or(&six_digits))
    }
}

impl DicomTime {
    /// Reads a TM value; `None` if it is not a valid time of day.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (seconds_part, fraction) = match text.split_once('.') {
            Some((seconds_part, fraction)) => (seconds_part, Some(fraction)),
            None => (text, None),
        };
        let digits: String = match seconds_part.as_bytes() {
            [_, _, b':', _, _] | [_, _, b':', _, _, b':', _, _] => seconds_part.split(':').collect(),
            _ => seconds_part.to_owned(),
        };
        let has_only_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !matches!(digits.len(), 2 | 4 | 6) || !has_only_digits(&digits) {
            return None;
        }
        let part = |range| digits.get(range).and_then(|part: &str| part.parse::<i8>().ok());
        let hour = part(0..2).filter(|hour| *hour < 24)?;
        let minute = part(2..4);
        let second = part(4..6).map(|second| if second == 60 { 59 } else { second });
        if minute.is_some_and(|minute| minute > 59) || second.is_some_and(|second| second > 59) {
            return None;
        }
        let fraction = match fraction {
            None => None,
            Some(_) if second.is_none() => return None,
            Some(fraction) => Some(SecondFraction::parse(fraction)?),
        };
        Some(Self { hour, minute, second, fraction })
    }
}

/// Timezone Offset From UTC (0008,0201): `&ZZXX`, −1200 to +1400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UtcOffset {
    minutes: i16,
}

impl UtcOffset {
    /// Reads `+0100` or `-0330`; `None` for anything else, because a guessed offset would give the study a wrong time.
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
        // PS3.3 C.12.1.1.8 forbids "-0000"; in other formats it means "unknown".
        let is_valid = minutes < 60 && (-12 * 60..=14 * 60).contains(&total) && text != "-0000";
        is_valid.then_some(Self { minutes: total })
    }

    /// Returns the minutes east of UTC.
    pub fn minutes(self) -> i16 {
        self.minutes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dates_must_be_valid_calendar_dates() {
        let parsed = |text| DicomDate::parse(text).map(|date| date.to_string());
        assert_eq!(parsed("20240229").as_deref(), Some("20240229"));
        assert_eq!(parsed("1994.01.30").as_deref(), Some("19940130"));
        assert_eq!(parsed(" 20240131 ").as_deref(), Some("20240131"));
        for invalid in
            ["", "20230229", "20241301", "2024", "202401311", "2024-01-31", "2024.1.31", "+0240131"]
        {
            assert_eq!(parsed(invalid), None, "{invalid:?}");
        }
    }

    #[test]
    fn times_keep_their_original_precision() {
        let time = |hour, minute, second, fraction: Option<&str>| {
            let fraction = fraction.map(|fraction| SecondFraction::parse(fraction).unwrap());
            Some(DicomTime { hour, minute, second, fraction })
        };
        assert_eq!(DicomTime::parse("07"), time(7, None, None, None));
        assert_eq!(DicomTime::parse("0730"), time(7, Some(30), None, None));
        assert_eq!(DicomTime::parse("235960"), time(23, Some(59), Some(59), None));
        assert_eq!(DicomTime::parse("165447.788280 "), time(16, Some(54), Some(47), Some("788280")));
        assert_eq!(DicomTime::parse("165447.7"), time(16, Some(54), Some(47), Some("7")));
        assert_eq!(DicomTime::parse("11:25:01"), time(11, Some(25), Some(1), None));
        for invalid in ["", "24", "2460", "123", "1230.5", "123015.", "123015.1234567", "12-30", "1 30"] {
            assert_eq!(DicomTime::parse(invalid), None, "{invalid:?}");
        }
    }

    #[test]
    fn fractions_keep_their_digits() {
        let fraction = |text| DicomTime::parse(text).and_then(|time| time.fraction);
        for (text, microseconds, digits) in [
            ("081530.25", 250_000, "25"),
            ("081530.250000", 250_000, "250000"),
            ("081530.000", 0, "000"),
            ("081530.007", 7_000, "007"),
        ] {
            let fraction = fraction(text).unwrap();
            assert_eq!((fraction.microseconds(), fraction.to_string().as_str()), (microseconds, digits));
        }
    }

    #[test]
    fn offset_is_accepted_only_in_the_format_of_the_standard() {
        let minutes = |text| UtcOffset::parse(text).map(UtcOffset::minutes);
        assert_eq!(minutes("+0100"), Some(60));
        assert_eq!(minutes("-0330"), Some(-210));
        assert_eq!(minutes("+0000"), Some(0));
        for invalid in ["", "0100", "+1", "+1500", "-1300", "+0160", "-0000", "Z", "+01:00"] {
            assert_eq!(minutes(invalid), None, "{invalid:?}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_makes_the_parsers_panic(text in "\\PC{0,16}") {
            let _ = (DicomDate::parse(&text), DicomTime::parse(&text), UtcOffset::parse(&text));
        }

        #[test]
        fn formatted_date_parses_to_the_same_date(year in 1i16..=9999, month in 1i8..=12, day in 1i8..=28) {
            let date = DicomDate::from(Date::new(year, month, day).unwrap());
            prop_assert_eq!(DicomDate::parse(&date.to_string()), Some(date));
        }
    }
}

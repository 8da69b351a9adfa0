//! Parses dates with prefixes (R4 search#date). This module does not compare them.

use super::alternatives;
use crate::date::{FhirDate, Prefix};

const EXPECTED: &str = "expected a date (YYYY, YYYY-MM, YYYY-MM-DD) or date-time (YYYY-MM-DDThh:mm[:ss][Z|±hh:mm]), \
                        optionally prefixed with eq, ne, gt, lt, ge, le, sa, eb or ap";

/// Parses the alternatives of a value, each with its own prefix.
pub(super) fn parse_all(value: &str) -> Result<Vec<(Prefix, FhirDate)>, String> {
    alternatives::parse_each(value, |text| {
        let (prefix, date) = Prefix::split(text);
        // A plus that was not percent-encoded arrives as a space; only a time zone contains one.
        let date = date.replacen(' ', "+", 1);
        FhirDate::parse(&date).map(|date| (prefix, date)).ok_or_else(|| EXPECTED.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_alternative_has_its_own_prefix() {
        let prefixes =
            |text| parse_all(text).unwrap().into_iter().map(|(prefix, _)| prefix).collect::<Vec<_>>();
        assert_eq!(prefixes("ge2024,lt2020-01"), [Prefix::GreaterOrEqual, Prefix::Less]);
        assert_eq!(prefixes("2024"), [Prefix::Equal]);
        assert_eq!(
            prefixes("eq2024,ne2024,gt2024,lt2024,le2024,sa2024,eb2024,ap2024"),
            [
                Prefix::Equal,
                Prefix::NotEqual,
                Prefix::Greater,
                Prefix::Less,
                Prefix::LessOrEqual,
                Prefix::StartsAfter,
                Prefix::EndsBefore,
                Prefix::Approximately
            ]
        );
    }

    #[test]
    fn space_before_a_time_zone_is_read_as_a_plus() {
        assert_eq!(parse_all("ge2024-01-01T10:00 01:00"), parse_all("ge2024-01-01T10:00+01:00"));
        assert!(parse_all("2024-01-01T10:00 01:00").is_ok());
        assert!(parse_all("2024-01-01 10:00").is_err());
    }

    #[test]
    fn a_time_zone_may_be_absent() {
        assert!(parse_all("2024-01-01T10:00").is_ok() && parse_all("ge2024-01-01T10:00:00").is_ok());
    }

    #[test]
    fn invalid_prefixes_and_dates_are_rejected() {
        for invalid in ["xx2024", "ge", "gege2024", "GE2024", "2024-13-45", "ge 2024", "2024-02-30", "today"]
        {
            assert!(parse_all(invalid).is_err(), "{invalid}");
        }
    }
}

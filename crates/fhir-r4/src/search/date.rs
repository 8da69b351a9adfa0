//! Dates with their prefixes (R4 search#date).

use super::alternatives;
use crate::date::{FhirDate, Prefix};

const EXPECTED: &str = "expected a date (YYYY, YYYY-MM, YYYY-MM-DD) or date-time (YYYY-MM-DDThh:mm[:ss](Z|±hh:mm)), \
                        optionally prefixed with eq, ne, gt, lt, ge, le, sa, eb or ap";

/// Reads the alternatives of a value; each has a prefix of its own.
pub(super) fn parse_all(value: &str) -> Result<Vec<(Prefix, FhirDate)>, String> {
    alternatives::parse_each(value, |text| {
        let (prefix, date) = Prefix::split(text);
        // A plus that was not percent-encoded arrives as a space, and only a zone has one.
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
    fn a_plus_that_arrives_as_a_space_is_read_as_the_plus_it_was() {
        assert_eq!(parse_all("ge2024-01-01T10:00 01:00"), parse_all("ge2024-01-01T10:00+01:00"));
        assert!(parse_all("2024-01-01T10:00 01:00").is_ok());
        assert!(parse_all("2024-01-01 10:00").is_err());
    }

    #[test]
    fn prefixes_and_dates_that_r4_does_not_know_are_refused() {
        for bad in ["xx2024", "ge", "gege2024", "GE2024", "2024-13-45", "ge 2024", "2024-02-30", "today"] {
            assert!(parse_all(bad).is_err(), "{bad}");
        }
    }
}

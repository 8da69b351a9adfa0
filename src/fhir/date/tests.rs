use proptest::prelude::*;

use super::*;

fn date(text: &str) -> FhirDate {
    FhirDate::parse(text).unwrap_or_else(|| panic!("{text} is a date"))
}

fn matching(search: &str, target: &str) -> bool {
    let (prefix, search) = Prefix::split(search);
    matches(prefix, &date(search), &date(target), &TimeZone::UTC, "2026-01-01T00:00:00Z".parse().unwrap())
}

#[test]
fn only_moments_of_the_calendar_are_dates() {
    for good in [
        "2024",
        "2024-12",
        "2024-02-29",
        "2024-01-31T23:59",
        "2024-01-31T23:59Z",
        "2024-01-31T23:59:59",
        "9999-12-31",
        "2024-01-31T23:59:59.999999+14:00",
        "2024-01-31T00:00-12:00",
    ] {
        assert!(FhirDate::parse(good).is_some(), "{good}");
    }
    for bad in [
        "",
        "0000",
        "24",
        "2024-13",
        "2024-13-45",
        "2023-02-29",
        "2024-1-1",
        "2024-01-01T",
        "2024-01-01T11",
        "2024-01T11:00",
        "2024-01-01T24:00",
        "2024-01-01T11:60",
        "2024-01-01T11:00:60",
        "2024-01-01T11:00+1:00",
        "2024-01-01T11:00+15:00",
        "2024-01-01T11:00:00.",
        "2024-01-01 11:00",
        "2024-01-01T11:00:00.1234567890",
        "2024-01-01-01",
        "-2024",
        "2024-01-01T11.5",
    ] {
        assert!(FhirDate::parse(bad).is_none(), "{bad}");
    }
}

#[test]
fn equality_is_containment_in_the_value_searched_for() {
    for (search, target, expected) in [
        ("2011-01", "2011-01-15", true),
        ("2011-01-15", "2011-01", false),
        ("2011", "2011", true),
        ("2011-01-01T11:00:00Z", "2011-01-01", false),
        ("2011-01-01", "2011-01-01T11:00:00Z", true),
        ("2011-01-01T11:00Z", "2011-01-01T11:00:59Z", true),
        ("2011-01-01T11:00Z", "2011-01-01T11:01:00Z", false),
        ("ne2011-01-15", "2011-01", true),
        ("ne2011-01", "2011-01-15", false),
    ] {
        assert_eq!(matching(search, target), expected, "{search} {target}");
    }
}

#[test]
fn order_looks_at_the_ends_of_both_intervals() {
    for (search, target, expected) in [
        ("gt2011-01", "2011-02", true),
        ("gt2011-01-15", "2011-01", true),
        ("gt2011-01", "2011-01-15", false),
        ("ge2011-01", "2011-01-15", true),
        ("ge2011-01-15", "2011-01-14", false),
        ("lt2011-01-15", "2011-01", true),
        ("lt2011-01", "2011-01-15", false),
        ("le2011-01", "2011-01-15", true),
        ("le2011-01-15", "2011-01-16", false),
        ("sa2011-01-15", "2011-01", false),
        ("sa2011-01", "2011-02", true),
        ("eb2011-01-15", "2011-01", false),
        ("eb2011-02", "2011-01-31", true),
    ] {
        assert_eq!(matching(search, target), expected, "{search} {target}");
    }
}

#[test]
fn a_day_without_a_zone_is_the_local_day_of_the_study() {
    assert!(matching("2024-01-01", "2024-01-01T05:00:00+09:00"));
    assert!(!matching("2023-12-31", "2024-01-01T05:00:00+09:00"));
    assert!(matching("2023-12-31T20:00:00Z", "2024-01-01T05:00:00+09:00"));
}

#[test]
fn approximately_widens_with_the_distance_to_now() {
    assert!(matching("ap2016-01-01", "2016-06-01"));
    assert!(!matching("ap2025-12-01", "2025-10-01"));
}

#[test]
fn the_days_that_a_date_can_touch_hold_every_zone() {
    let bounds = |text| {
        let (first, last) = date(text).day_bounds();
        (first.to_string(), last.to_string())
    };
    assert_eq!(bounds("2024-01"), ("2024-01-01".to_owned(), "2024-01-31".to_owned()));
    assert_eq!(bounds("2024-01-01T05:00Z"), ("2023-12-31".to_owned(), "2024-01-01".to_owned()));
    assert_eq!(bounds("2024-01-01T20:00:00Z"), ("2024-01-01".to_owned(), "2024-01-02".to_owned()));
    assert_eq!(bounds("9999"), ("9999-01-01".to_owned(), "9999-12-31".to_owned()));
}

fn any_date() -> impl Strategy<Value = String> {
    (1990i16..2030, 1i8..=12, 1i8..=28, 0i8..24, 0i8..60, 0u8..5, prop_oneof!["Z", "\\+09:00", "-05:30", ""])
        .prop_map(|(year, month, day, hour, minute, parts, zone)| match parts {
            0 => format!("{year:04}"),
            1 => format!("{year:04}-{month:02}"),
            2 => format!("{year:04}-{month:02}-{day:02}"),
            3 => format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}{zone}"),
            _ => format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:07.25{zone}"),
        })
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,40}") {
        let _ = FhirDate::parse(&text);
    }

    #[test]
    fn the_laws_of_the_prefixes_hold(search in any_date(), target in any_date()) {
        let is = |prefix: &str| matching(&format!("{prefix}{search}"), &target);
        prop_assert_eq!(is("ne"), !is("eq"));
        prop_assert!(!is("eq") || (is("ge") && is("le")));
        prop_assert!(!is("sa") || is("gt"));
        prop_assert!(!is("eb") || is("lt"));
        prop_assert!(!is("gt") || is("ge"));
        prop_assert!(!is("lt") || is("le"));
        prop_assert!(is("ge") || is("eb"));
        prop_assert!(is("le") || is("sa"));
        prop_assert!(!(is("sa") && is("eb")));
    }

    #[test]
    fn every_date_contains_itself(text in any_date()) {
        prop_assert!(matching(&text, &text));
        let approximately = format!("ap{text}");
        prop_assert!(matching(&approximately, &text));
    }

    #[test]
    fn what_matches_lies_within_the_days_that_are_asked_for(search in any_date(), target in any_date()) {
        if matching(&search, &target) {
            let local = date(&target).first.date();
            let (first, last) = date(&search).day_bounds();
            prop_assert!(first <= local && local <= last, "{} {} {}", first, local, last);
        }
    }
}

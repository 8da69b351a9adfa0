use proptest::prelude::*;

use super::*;

fn date(text: &str) -> FhirDate {
    FhirDate::parse(text).unwrap_or_else(|| panic!("{text} is not a date"))
}

fn is_match(search: &str, target: &str) -> bool {
    let (prefix, search) = Prefix::split(search);
    matches(prefix, &date(search), &date(target), &TimeZone::UTC, "2026-01-01T00:00:00Z".parse().unwrap())
}

#[test]
fn dates_must_be_valid_calendar_dates_and_times() {
    for valid in [
        "2024",
        "2024-12",
        "2024-02-29",
        "2024-01-31T23:59",
        "2024-01-31T23:59Z",
        "2024-01-31T23:59:59",
        "9999-12-31",
        "2024-01-31T23:59:59.999999+14:00",
        "2024-01-31T00:00-12:00",
        "2016-12-31T23:59:60Z",
        "2024-01-01T11:00:00.1234567890123",
    ] {
        assert!(FhirDate::parse(valid).is_some(), "{valid}");
    }
    for invalid in [
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
        "2024-01-01T11:00:61",
        "2024-01-01T11:00+1:00",
        "2024-01-01T11:00+14:01",
        "2024-01-01T11:00+01:60",
        "2024-01-01T11:00Z+01:00",
        "2024-01-01Z",
        "2024-01-01T11:00:00.",
        "2024-01-01 11:00",
        "2024-01-01-01",
        "-2024",
        "2024-01-01T11.5",
    ] {
        assert!(FhirDate::parse(invalid).is_none(), "{invalid}");
    }
}

#[test]
fn equality_is_containment_in_the_search_value() {
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
        assert_eq!(is_match(search, target), expected, "{search} {target}");
    }
}

#[test]
fn order_compares_the_ends_of_both_intervals() {
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
        assert_eq!(is_match(search, target), expected, "{search} {target}");
    }
}

#[test]
fn day_without_a_zone_is_the_local_day_of_the_study() {
    assert!(is_match("2024-01-01", "2024-01-01T05:00:00+09:00"));
    assert!(!is_match("2023-12-31", "2024-01-01T05:00:00+09:00"));
    assert!(is_match("2023-12-31T20:00:00Z", "2024-01-01T05:00:00+09:00"));
}

#[test]
fn dates_without_any_zone_are_read_in_the_given_zone() {
    let berlin = TimeZone::get("Europe/Berlin").unwrap();
    let now = Timestamp::UNIX_EPOCH;
    let is = |search: &str, target: &str| {
        let (prefix, search) = Prefix::split(search);
        matches(prefix, &date(search), &date(target), &berlin, now)
    };
    assert!(is("2024-03-31", "2024-03-31"));
    // The local day begins before that of UTC, and is one hour shorter because clocks are set forward.
    assert!(is("lt2024-07-01T00:00Z", "2024-07-01"));
    assert!(is("eb2024-03-31T22:00:00Z", "2024-03-31"));
    assert!(!is("eb2024-03-31T21:59:59Z", "2024-03-31"));
    assert!(is("sa2024-03-30T22:59:59Z", "2024-03-31"));
}

#[test]
fn interval_never_ends_before_it_begins_at_clock_changes() {
    for (zone, text) in [
        ("America/New_York", "2024-03-10T02:59"),
        ("America/New_York", "2024-11-03T01:59"),
        ("America/Sao_Paulo", "2018-11-04"),
        ("Pacific/Apia", "2011-12-30"),
        ("Asia/Manila", "1844-12-31"),
    ] {
        let Interval { low, high } = date(text).interval(&TimeZone::get(zone).unwrap());
        assert!(low < high, "{zone} {text}");
    }
    let repeated = date("2024-11-03T01:30").interval(&TimeZone::get("America/New_York").unwrap());
    assert_eq!(repeated.low.to_string(), "2024-11-03T05:30:00Z");
    assert_eq!(repeated.high.to_string(), "2024-11-03T06:30:59.999999999Z");
}

#[test]
fn last_days_of_the_calendar_do_not_match_every_date() {
    for search in ["9999-12-31", "ge9999-12-31", "sa9999", "gt9999-12-31T23:59Z"] {
        assert!(!is_match(search, "2024-01-01"), "{search}");
    }
    assert!(is_match("lt9999-12-31", "2024-01-01"));
    assert!(is_match("gt0001", "2024-01-01"));
}

#[test]
fn instant_is_compared_at_its_original_precision() {
    for (search, target, expected) in [
        ("2024-01-01T11:00:00.5Z", "2024-01-01T11:00:00.512Z", true),
        ("2024-01-01T11:00:00.512Z", "2024-01-01T11:00:00.5Z", false),
        ("2024-01-01T11:00:00.500Z", "2024-01-01T11:00:00.5Z", true),
        ("2024-01-01T11:00:00.5000000Z", "2024-01-01T12:00:00.5+01:00", true),
        ("2024-01-01T11:00:00.000Z", "2024-01-01T11:00:00Z", true),
        ("2024-01-01T11:00:00.001Z", "2024-01-01T11:00:00Z", false),
        ("2024-01-01T11:00:00.123Z", "2024-01-01T11:00:00.123456Z", true),
        ("gt2024-01-01T11:00:00.123Z", "2024-01-01T11:00:00.123456Z", false),
        ("gt2024-01-01T11:00:00.124Z", "2024-01-01T11:00:00.123456Z", false),
        ("gt2024-01-01T11:00:00.122Z", "2024-01-01T11:00:00.123456Z", true),
        ("2024-01-01T11:00:00Z", "2024-01-01T11:00:00.999999Z", true),
        ("2024-01-01T11:00:00Z", "2024-01-01T12:00:00+01:00", true),
        ("2024-01-01T23:59:60Z", "2024-01-01T23:59:59Z", true),
    ] {
        assert_eq!(is_match(search, target), expected, "{search} {target}");
    }
}

#[test]
fn instant_of_a_resource_is_found_with_any_number_of_digits_and_is_neither_before_nor_after_itself() {
    for (target, search_times) in [
        ("2024-01-01T12:00:00.25+01:00", ["11:00:00.25Z", "11:00:00.250Z", "11:00:00.250000000Z"]),
        ("2024-01-01T11:00:00.250000Z", ["11:00:00.25Z", "11:00:00.250Z", "11:00:00Z"]),
        ("2024-01-01T11:00:00Z", ["11:00:00Z", "11:00:00.000Z", "11:00Z"]),
        ("2024-01-01T11:00:00.000Z", ["11:00:00Z", "11:00:00.0Z", "11:00:00.000000Z"]),
        ("2024-01-01T11:00:00.123456Z", ["11:00:00.123Z", "11:00:00.123456Z", "11:00:00.1234560Z"]),
    ] {
        for search_time in search_times {
            for prefix in ["eq", "ge", "le", "ap"] {
                assert!(
                    is_match(&format!("{prefix}2024-01-01T{search_time}"), target),
                    "{prefix} {search_time} {target}"
                );
            }
            for prefix in ["gt", "lt", "sa", "eb", "ne"] {
                assert!(
                    !is_match(&format!("{prefix}2024-01-01T{search_time}"), target),
                    "{prefix} {search_time} {target}"
                );
            }
        }
    }
}

#[test]
fn bound_with_a_time_overlaps_a_day_without_a_time() {
    for prefix in ["gt", "lt", "ge", "le", "ne", "ap"] {
        assert!(is_match(&format!("{prefix}2011-01-01T11:00:00Z"), "2011-01-01"), "{prefix}");
    }
    for prefix in ["eq", "sa", "eb"] {
        assert!(!is_match(&format!("{prefix}2011-01-01T11:00:00Z"), "2011-01-01"), "{prefix}");
    }
}

#[test]
fn approximately_widens_with_the_distance_to_now() {
    assert!(is_match("ap2016-01-01", "2016-06-01"));
    assert!(!is_match("ap2025-12-01", "2025-10-01"));
}

#[test]
fn day_bounds_include_every_zone() {
    let bounds = |text| {
        let (first, last) = date(text).day_bounds();
        (first.to_string(), last.to_string())
    };
    assert_eq!(bounds("2024-01"), ("2024-01-01".to_owned(), "2024-01-31".to_owned()));
    assert_eq!(bounds("2024-01-01T05:00Z"), ("2023-12-31".to_owned(), "2024-01-01".to_owned()));
    assert_eq!(bounds("2024-01-01T20:00:00Z"), ("2024-01-01".to_owned(), "2024-01-02".to_owned()));
    assert_eq!(bounds("2024-01-01T13:00-05:00"), ("2024-01-01".to_owned(), "2024-01-02".to_owned()));
    assert_eq!(bounds("2024-02-28T22:00:00+09:00"), ("2024-02-27".to_owned(), "2024-02-29".to_owned()));
    assert_eq!(bounds("9999-12-31T23:00Z"), ("9999-12-31".to_owned(), "9999-12-31".to_owned()));
    assert_eq!(bounds("0001-01-01T01:00Z"), ("0001-01-01".to_owned(), "0001-01-01".to_owned()));
    assert_eq!(bounds("9999"), ("9999-01-01".to_owned(), "9999-12-31".to_owned()));
}

fn any_date() -> impl Strategy<Value = String> {
    (1990i16..2030, 1i8..=12, 1i8..=28, 0i8..24, 0i8..60, 0u8..7, prop_oneof!["Z", "\\+09:00", "-05:30", ""])
        .prop_map(|(year, month, day, hour, minute, parts, zone)| match parts {
            0 => format!("{year:04}"),
            1 => format!("{year:04}-{month:02}"),
            2 => format!("{year:04}-{month:02}-{day:02}"),
            3 => format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}{zone}"),
            4 => format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:07{zone}"),
            5 => format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:07.0{zone}"),
            _ => format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:07.25{zone}"),
        })
}

proptest! {
    #[test]
    fn arbitrary_text_never_makes_the_parser_panic(text in "\\PC{0,40}") {
        let _ = FhirDate::parse(&text);
    }

    #[test]
    fn prefixes_are_consistent_with_each_other(search in any_date(), target in any_date()) {
        let is = |prefix: &str| is_match(&format!("{prefix}{search}"), &target);
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
    fn prefixes_are_consistent_in_every_zone(
        search in any_date(), target in any_date(),
        zone in prop_oneof!["UTC", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"],
    ) {
        let zone = TimeZone::get(&zone).unwrap();
        let now = Timestamp::UNIX_EPOCH;
        let is = |prefix| matches(prefix, &date(&search), &date(&target), &zone, now);
        prop_assert_eq!(is(Prefix::NotEqual), !is(Prefix::Equal));
        // `ge` is greater or contained, `le` is less or contained.
        if is(Prefix::Greater) || is(Prefix::Equal) { prop_assert!(is(Prefix::GreaterOrEqual)); }
        if is(Prefix::Less) || is(Prefix::Equal) { prop_assert!(is(Prefix::LessOrEqual)); }
        // `ge` is the complement of `eb`, `le` of `sa`.
        prop_assert_eq!(is(Prefix::GreaterOrEqual), !is(Prefix::EndsBefore));
        prop_assert_eq!(is(Prefix::LessOrEqual), !is(Prefix::StartsAfter));
        // Overlapping dates are always approximately equal.
        if is(Prefix::GreaterOrEqual) && is(Prefix::LessOrEqual) { prop_assert!(is(Prefix::Approximately)); }
    }

    #[test]
    fn containment_is_transitive(one in any_date(), two in any_date(), three in any_date()) {
        let zone = TimeZone::UTC;
        let within = |outer: &str, inner: &str| {
            matches(Prefix::Equal, &date(outer), &date(inner), &zone, Timestamp::UNIX_EPOCH)
        };
        // All with zones, or all without: otherwise a value without a zone is read in the zone of each date that it is
        // compared with.
        let zoned = |text: &str| date(text).has_zone();
        // A second contains every fraction of it as a search value, but as the date of a resource it is a point.
        let is_interval = |text: &str| date(text).precision < Precision::Second;
        if is_interval(&two) && zoned(&one) == zoned(&two) && zoned(&two) == zoned(&three) && within(&one, &two) && within(&two, &three) {
            prop_assert!(within(&one, &three));
        }
    }

    #[test]
    fn every_date_contains_itself(text in any_date()) {
        prop_assert!(is_match(&text, &text));
        let approximately = format!("ap{text}");
        prop_assert!(is_match(&approximately, &text));
    }

    #[test]
    fn matching_date_is_within_the_day_bounds_of_the_search(search in any_date(), target in any_date()) {
        if is_match(&search, &target) {
            let local = date(&target).first.date();
            let (first, last) = date(&search).day_bounds();
            prop_assert!(first <= local && local <= last, "{} {} {}", first, local, last);
        }
    }
}

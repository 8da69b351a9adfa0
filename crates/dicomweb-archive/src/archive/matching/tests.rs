//! Tests matching against PS3.4 C.2.2.2, and wildcards against a simple reference implementation.

use super::*;
use proptest::prelude::*;

fn matches_any(vr: VR, key: &str, values: &[&str]) -> bool {
    let element =
        DataElement { vr, value: DataValue::Text(values.iter().map(|value| (*value).into()).collect()) };
    Condition::parse(vr, key).unwrap().accepts(Some(&element))
}

#[test]
fn key_without_wildcards_matches_exactly() {
    assert!(matches_any(VR::LO, "P11", &["P11"]));
    assert!(!matches_any(VR::LO, "P11", &["p11"]));
    assert!(!matches_any(VR::LO, "P11", &["P111"]));
    assert!(matches_any(VR::LO, "b", &["a", "b"]), "one value of several is enough");
}

#[test]
fn star_in_a_key_is_a_wildcard_even_if_identifiers_contain_a_star() {
    for id in ["P*1", "P11", "P1", "P--1"] {
        assert!(matches_any(VR::LO, "P*1", &[id]), "{id}");
    }
    assert!(matches_any(VR::LO, "P?1", &["P*1"]));
    assert!(!matches_any(VR::LO, "P?1", &["P1"]));
}

#[test]
fn empty_key_or_single_star_matches_every_value_and_a_missing_one() {
    for key in ["", "*", "**"] {
        assert!(Condition::parse(VR::LO, key).unwrap().accepts(None), "{key:?}");
    }
    assert!(!Condition::parse(VR::LO, "?*").unwrap().accepts(None));
}

#[test]
fn names_match_in_any_group_and_case_insensitively() {
    let name = ["Yamada^Tarou=山田^太郎=やまだ^たろう"];
    for key in [
        "yamada^tarou",
        "YAMADA*",
        "山田^太郎",
        "*たろう",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
        "y?mada^*",
    ] {
        assert!(matches_any(VR::PN, key, &name), "{key}");
    }
    assert!(!matches_any(VR::PN, "Yamada", &name));
    assert!(matches_any(VR::PN, "Doe^Jane", &["Doe^Jane^^"]));
}

#[test]
fn uids_match_as_a_list() {
    assert!(matches_any(VR::UI, "1.2,1.3", &["1.3"]));
    assert!(matches_any(VR::UI, "1.2\\1.3", &["1.2"]));
    assert!(!matches_any(VR::UI, "1.2,1.3", &["1.2.3"]));
    for invalid in ["1.2*", "1.2,", "a", "1.2 "] {
        assert_eq!(Condition::parse(VR::UI, invalid), Err(ConditionError::Uid), "{invalid}");
    }
}

#[test]
fn dates_match_as_single_values_and_in_ranges() {
    for key in ["20230511", "20230501-20230531", "20230511-", "-20230511"] {
        assert!(matches_any(VR::DA, key, &["20230511"]), "{key}");
    }
    for key in ["20230512", "20230512-", "-20230510"] {
        assert!(!matches_any(VR::DA, key, &["20230511"]), "{key}");
    }
    assert!(matches_any(VR::DA, "19940130", &["1994.01.30"]));
    assert!(!matches_any(VR::DA, "-20230511", &["garbage"]));
    for invalid in ["2023-05-11", "202305", "20231341", "-", "2023051a", "20230501-20230531-"] {
        assert_eq!(Condition::parse(VR::DA, invalid), Err(ConditionError::DateOrTime), "{invalid}");
    }
}

#[test]
fn times_match_at_their_precision() {
    for key in ["10", "1015", "101500", "1000-1030", "-1015", "10-"] {
        assert!(matches_any(VR::TM, key, &["101500.250"]), "{key}");
    }
    assert!(matches_any(VR::TM, "1015", &["101500"]));
    assert!(matches_any(VR::TM, "112501", &["11:25:01"]));
    assert!(!matches_any(VR::TM, "11-", &["101500"]));
    assert_eq!(Condition::parse(VR::TM, "101"), Err(ConditionError::DateOrTime));
}

#[test]
fn numbers_match_in_any_notation() {
    assert!(matches_any(VR::IS, "1", &["01"]));
    assert!(matches_any(VR::DS, "1.50", &["1.5"]));
    let rows = DataElement { vr: VR::US, value: DataValue::Binary(Box::from([0, 2])) };
    assert!(Condition::parse(VR::US, "512").unwrap().accepts(Some(&rows)));
    assert_eq!(Condition::parse(VR::US, "many"), Err(ConditionError::Number));
}

#[test]
fn code_strings_match_as_lists_and_binary_data_are_rejected() {
    assert!(matches_any(VR::CS, "CT,MR", &["US", "MR"]));
    assert!(matches_any(VR::CS, "CT\\MR", &["CT"]));
    assert!(!matches_any(VR::CS, "CT,MR", &["CTA"]));
    assert_eq!(Condition::parse(VR::OB, "x"), Err(ConditionError::Representation));
    assert_eq!(Condition::parse(VR::SQ, "x"), Err(ConditionError::Representation));
}

/// Whether `pattern` matches `text`, by the definition; takes exponential time.
fn matches_by_definition(pattern: &[char], text: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['*', rest @ ..] => (0..=text.len()).any(|taken| matches_by_definition(rest, &text[taken..])),
        ['?', rest @ ..] => !text.is_empty() && matches_by_definition(rest, &text[1..]),
        [first, rest @ ..] => text.first() == Some(first) && matches_by_definition(rest, &text[1..]),
    }
}

proptest! {
    #[test]
    fn wildcards_match_like_the_reference_implementation(pattern in "[ab*?山]{0,8}", text in "[ab*?山]{0,10}") {
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        prop_assert_eq!(Pattern::new(&pattern).accepts(&text), matches_by_definition(&chars(&pattern), &chars(&text)));
    }

    #[test]
    fn arbitrary_keys_and_values_never_make_matching_panic(key in "\\PC{0,20}", value in "\\PC{0,20}") {
        for vr in [VR::LO, VR::PN, VR::DA, VR::TM, VR::DT, VR::UI, VR::IS, VR::DS, VR::CS] {
            if let Ok(condition) = Condition::parse(vr, &key) {
                let _ = condition.accepts(Some(&DataElement::text(vr, &value)));
            }
        }
    }
}

use super::*;
use proptest::prelude::*;

fn ids(secrets: &[&str]) -> PatientIds {
    PatientIds::derive(secrets.iter().map(|secret| secret.as_bytes())).unwrap()
}

/// A PatientID of up to 64 characters, as PS3.5 table 6.2-1 allows for LO: neither backslashes nor control characters.
fn patient_id() -> impl Strategy<Value = String> {
    "[^\\\\\\p{Cc}]{1,64}|[0-9A-Z-]{1,22}"
}

proptest! {
    #[test]
    fn an_id_contains_every_patient_id_of_up_to_22_bytes_and_a_hash_of_a_longer_one(patient_id in patient_id()) {
        let ids = ids(&["s"]);
        let id = ids.id("urn:oid:1", &patient_id, true);
        let opened = ids.open(&id).unwrap();
        prop_assert_eq!(&opened.current, &id);
        prop_assert_eq!(opened.patient_id, (patient_id.len() <= 22).then_some(patient_id));
    }

    #[test]
    fn an_id_is_a_legal_id_of_64_characters_without_anything_of_the_patient_id(
        patient_id in patient_id(), other in patient_id(),
    ) {
        let ids = ids(&["s"]);
        let id = ids.id("urn:oid:1", &patient_id, true);
        prop_assert_eq!(id.len(), 64);
        prop_assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte)));
        prop_assert!(patient_id.len() < 4 || !id.contains(&patient_id));
        // Only the number of the key is equal, which is in the first two characters.
        let other_id = ids.id("urn:oid:1", &other, true);
        prop_assert_eq!(other_id == id, other == patient_id);
        let equal = id.bytes().zip(other_id.bytes()).skip(2).filter(|(left, right)| left == right).count();
        prop_assert!(other == patient_id || equal < 16, "{} of 62 characters are equal", equal);
    }

    #[test]
    fn a_changed_id_is_rejected(position in 0_usize..64, replacement in "[A-Za-z0-9.-]") {
        let ids = ids(&["s"]);
        let id = ids.id("urn:oid:1", "P1", true);
        let mut changed = id.clone();
        changed.replace_range(position..=position, &replacement);
        prop_assert!(changed == id || ids.open(&changed).is_none());
    }

    #[test]
    fn a_text_that_is_no_id_is_rejected(text in "\\PC{0,70}|[A-Za-z0-9.-]{60,70}|[0-9a-f]{40}") {
        prop_assert_eq!(ids(&["s"]).open(&text), None);
    }
}

#[test]
fn an_id_depends_on_the_scope_and_the_identifier() {
    let ids = ids(&["s"]);
    let long = "1".repeat(23);
    let mut all = vec![
        ids.id("a", "1", true),
        ids.id("b", "1", true),
        ids.id("a", "2", true),
        ids.id("a", "1", false),
        ids.id("a", &long, true),
        ids.id("b", &long, true),
        ids.id("a1", &"1".repeat(22), false),
        ids.id("a", &long, false).chars().rev().collect(),
    ];
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 8);
}

#[test]
fn an_id_of_another_key_is_rejected() {
    let id = ids(&["s"]).id("a", "1", true);
    for other in [ids(&["t"]), ids(&["S"]), ids(&[""])] {
        assert_eq!(other.open(&id), None);
    }
    assert!(matches!(PatientIds::derive([]), Err(NoSecret)));
}

#[test]
fn an_id_of_an_old_key_is_opened_and_becomes_one_of_the_first_key() {
    let (old, new, both) = (ids(&["old"]), ids(&["new"]), ids(&["new", "old"]));
    for (patient_id, is_sealed) in [("4711", true), ("a PatientID of more than 22 bytes", false)] {
        let id = old.id("a", patient_id, true);
        assert_eq!(new.open(&id), None);
        let opened = both.open(&id).unwrap();
        assert_eq!(opened.current, new.id("a", patient_id, true));
        assert_eq!(opened.current, both.id("a", patient_id, true));
        assert_eq!(opened.patient_id.is_some(), is_sealed);
    }
}

#[test]
fn keys_with_the_same_number_both_open_their_ids() {
    let secrets: Vec<_> = (0..300).map(|number| number.to_string()).collect();
    let all = ids(&secrets.iter().map(String::as_str).collect::<Vec<_>>());
    for secret in &secrets {
        assert!(all.open(&ids(&[secret]).id("a", "1", true)).is_some(), "{secret}");
    }
}

#[test]
fn debug_output_depends_on_the_first_key_and_contains_no_key() {
    let text = |secrets: &[&str]| format!("{:?}", ids(secrets));
    assert_eq!(text(&["a", "b"]), text(&["a", "c"]));
    assert_ne!(text(&["a", "b"]), text(&["b", "a"]));
    assert!(!text(&["secret"]).contains("secret"));
}

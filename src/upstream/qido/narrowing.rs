//! Adapts searches to archives that do not decode percent-escapes, and filters the returned rows.
//!
//! RFC 3986 3.4 allows `/ ? : @` and most sub-delimiters unescaped in a query. A value that must be escaped (`^`, spaces,
//! characters outside ASCII) matches nothing in an archive that compares the escape itself. For such an archive a value is
//! widened to a wildcard pattern that covers it, or omitted if no part of it can be sent unescaped. The rows are then compared
//! with the exact value here (PS3.4 C.2.2.2). A value that cannot be compared here is rejected, because an empty list would mean
//! that nothing matches.

use dicom_core::VR;

use super::QidoQuery;
use super::query::MatchingOption;
use super::value::{MatchValue, is_unescaped};
use crate::upstream::Profile;
use dicom_model::{Attributes, ComponentGroup, Tag, Value, tag, tags};

/// The reason why an archive cannot be searched for a value and its rows cannot be compared with the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "does not decode percent-escapes, and cannot be searched for this {attribute} without them: {reason}"
)]
pub struct UnsearchableValue {
    /// The keyword of the attribute.
    attribute: &'static str,
    reason: &'static str,
}

/// A search that an archive evaluates correctly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NarrowedQuery {
    /// The query that is sent.
    pub query: QidoQuery,
    /// The filter for the returned rows.
    pub filter: RowFilter,
    /// Whether fuzzy matching was requested and is replaced by literal matching, because the gateway does not support fuzzy
    /// matching (PS3.18 8.3.4.2).
    pub is_literal_only: bool,
}

/// A filter of rows. Without keys every row matches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowFilter {
    keys: Vec<Key>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    tag: Tag,
    is_name: bool,
    value: String,
    /// Whether a part of the value was sent to the archive, so that each row has the attribute.
    is_sent: bool,
}

impl QidoQuery {
    /// Adapts the search to an archive with `profile`.
    pub fn narrowed_for(&self, profile: &Profile) -> Result<NarrowedQuery, UnsearchableValue> {
        let mut query = self.clone();
        let mut filter = RowFilter::default();
        if !profile.decodes_escapes {
            for (tag, MatchValue(value)) in &self.matches {
                if value.bytes().all(is_unescaped) {
                    continue;
                }
                let key = Key::new(*tag, value)?;
                let pattern = MatchValue::widen(value, profile.keeps_padding);
                query = match pattern {
                    Some(pattern) => query.matching(*tag, pattern),
                    None => query.without(*tag),
                };
                // The rows must contain the attribute that is compared.
                query = query.include(&[*tag]);
                filter.keys.push(Key { is_sent: query.is_matching(*tag), ..key });
            }
        }
        let is_literal_only = !filter.is_empty() && self.has_option(MatchingOption::Fuzzy);
        if is_literal_only {
            query = query.option(MatchingOption::Fuzzy, false);
        }
        Ok(NarrowedQuery { query, filter, is_literal_only })
    }
}

impl RowFilter {
    /// Whether every row matches.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether `row` matches the search.
    pub fn matches(&self, row: &Attributes) -> Result<bool, UnsearchableValue> {
        for key in &self.keys {
            if !key.matches(row)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Key {
    fn new(tag: Tag, value: &str) -> Result<Self, UnsearchableValue> {
        let unsearchable = |reason| UnsearchableValue { attribute: keyword(tag), reason };
        let vr = tag::value_representation(tag);
        let is_text = matches!(
            vr,
            Some(
                VR::AE
                    | VR::AS
                    | VR::CS
                    | VR::DS
                    | VR::IS
                    | VR::LO
                    | VR::LT
                    | VR::PN
                    | VR::SH
                    | VR::ST
                    | VR::UC
                    | VR::UR
                    | VR::UT
            )
        );
        if !is_text {
            return Err(unsearchable("it is not text, which the gateway could compare itself"));
        }
        // Archives interpret a comma in different ways.
        if value.contains(['\\', ',']) {
            return Err(unsearchable("search for such values one by one instead of by a list"));
        }
        if value == "\"\"" {
            return Err(unsearchable("matching of empty values is not possible"));
        }
        let is_name = vr == Some(VR::PN);
        Ok(Self { tag, is_name, value: normalize(value, is_name), is_sent: false })
    }

    fn matches(&self, row: &Attributes) -> Result<bool, UnsearchableValue> {
        let unsearchable = |reason| UnsearchableValue { attribute: keyword(self.tag), reason };
        let Some(element) = row.get(self.tag) else {
            return if self.is_sent { Err(unsearchable("its rows do not contain it")) } else { Ok(false) };
        };
        let is_match = |text: &str| matches_pattern(&self.value, &normalize(text, self.is_name));
        let has_match = element.values.iter().any(|value| match value {
            Value::Text(text) => is_match(text),
            Value::Name(name) => {
                let groups = [&name.alphabetic, &name.ideographic, &name.phonetic];
                let groups = groups.map(|group| group.as_ref().map(group_text).unwrap_or_default());
                groups.iter().any(|group| !group.is_empty() && is_match(group)) || is_match(&groups.join("="))
            }
            Value::Item(_) => false,
        });
        if !has_match && !can_contain(row, &self.value) {
            return Err(unsearchable("its rows are in a character set that does not have these characters"));
        }
        Ok(has_match)
    }
}

fn keyword(tag: Tag) -> &'static str {
    tag::keyword(tag).unwrap_or("attribute")
}

/// Whether the character set of `row` has all characters of `value`.
fn can_contain(row: &Attributes, value: &str) -> bool {
    match row.text(tags::SPECIFIC_CHARACTER_SET) {
        None | Some("ISO_IR 192") => true,
        Some("ISO_IR 100") => value.chars().all(|character| character <= '\u{ff}'),
        Some(_) => value.is_ascii(),
    }
}

fn group_text(group: &ComponentGroup) -> String {
    let components = [&group.family, &group.given, &group.middle, &group.prefix, &group.suffix];
    components.map(AsRef::as_ref).join("^").trim_end_matches('^').to_owned()
}

/// Normalizes a value for the comparison: removes padding, and for names the case (PS3.4 C.2.2.2.1) and trailing empty
/// components (PS3.5 6.2.1).
fn normalize(text: &str, is_name: bool) -> String {
    let text = text.trim_matches(' ');
    if is_name { text.trim_end_matches(['^', '=', ' ']).to_lowercase() } else { text.to_owned() }
}

/// Whether `text` matches `pattern`, in which `*` matches any sequence of characters and `?` one character (PS3.4 C.2.2.2.4).
/// Backtracks only to the last `*`.
fn matches_pattern(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut pattern_index, mut text_index, mut backtrack) = (0, 0, None);
    while text_index < text.len() {
        match pattern.get(pattern_index) {
            Some('*') => {
                backtrack = Some((pattern_index + 1, text_index));
                pattern_index += 1;
            }
            Some(character) if *character == '?' || *character == text[text_index] => {
                pattern_index += 1;
                text_index += 1;
            }
            _ => match backtrack {
                Some((after_star, match_start)) => {
                    pattern_index = after_star;
                    text_index = match_start + 1;
                    backtrack = Some((after_star, match_start + 1));
                }
                None => return false,
            },
        }
    }
    pattern.get(pattern_index..).is_some_and(|rest| rest.iter().all(|character| *character == '*'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::SearchLevel;
    use proptest::prelude::*;

    fn narrow(tag: Tag, value: &str) -> Result<NarrowedQuery, UnsearchableValue> {
        let query = QidoQuery::new(SearchLevel::Studies).matching(tag, MatchValue::raw(value));
        query.narrowed_for(&Profile::find("orthanc").unwrap())
    }

    fn sent_query(tag: Tag, value: &str) -> String {
        narrow(tag, value).unwrap().query.canonical()
    }

    fn matches(tag: Tag, value: &str, row: &str) -> Result<bool, UnsearchableValue> {
        narrow(tag, value).unwrap().filter.matches(&serde_json::from_str(row).unwrap())
    }

    #[test]
    fn a_value_without_escapes_is_sent_unchanged() {
        for value in ["25/1807", "A(1)", "P@1", "Do?e*", "a!b$c:d", "1.2,1.3"] {
            let query =
                QidoQuery::new(SearchLevel::Studies).matching(tags::PATIENT_ID, MatchValue::raw(value));
            let narrowed = query.narrowed_for(&Profile::find("orthanc").unwrap()).unwrap();
            assert_eq!(narrowed.query.canonical(), format!("studies?PatientID={value}"));
            assert!(narrowed.filter.is_empty());
        }
        let generic = QidoQuery::new(SearchLevel::Studies)
            .matching(tags::PATIENT_NAME, MatchValue::raw("Doe^J"))
            .narrowed_for(&Profile::find("generic").unwrap())
            .unwrap();
        assert!(generic.filter.is_empty() && generic.query.canonical().ends_with("PatientName=Doe%5EJ"));
    }

    #[test]
    fn a_value_that_needs_escapes_is_widened_or_omitted() {
        assert_eq!(
            sent_query(tags::PATIENT_NAME, "Doe^J*"),
            "studies?PatientName=Doe*J*&includefield=00100010"
        );
        assert_eq!(sent_query(tags::PATIENT_ID, "A+1=;'x"), "studies?PatientID=A*1*x*&includefield=00100020");
        assert_eq!(sent_query(tags::PATIENT_NAME, "山田^*"), "studies?includefield=00100010");
    }

    #[test]
    fn rows_are_compared_with_the_exact_value() {
        let name =
            |text: &str| format!(r#"{{"00100010":{{"vr":"PN","Value":[{{"Alphabetic":"{text}"}}]}}}}"#);
        for (value, text, expected) in [
            ("Doe^Jane", "Doe^Jane", true),
            ("doe^j*", "DOE^Jane", true),
            ("Doe^Jane", "Doe^Jane^^^", true),
            ("Doe^Jane", "Doe^Janet", false),
            ("Doe^Jane", "Doe-Jane", false),
            ("M\u{fc}ller", "M\u{fc}ller", true),
            ("M\u{fc}ller", "Moeller", false),
        ] {
            assert_eq!(matches(tags::PATIENT_NAME, value, &name(text)), Ok(expected), "{value} {text}");
        }
        let id = r#"{"00100020":{"vr":"LO","Value":["A+1 "]}}"#;
        assert_eq!(matches(tags::PATIENT_ID, "A+1", id), Ok(true));
        assert_eq!(matches(tags::PATIENT_ID, "a+1", id), Ok(false));
        let two_groups =
            r#"{"00100010":{"vr":"PN","Value":[{"Alphabetic":"Yamada^Tarou","Ideographic":"山田^太郎"}]}}"#;
        assert_eq!(matches(tags::PATIENT_NAME, "山田^*", two_groups), Ok(true));
        assert_eq!(matches(tags::PATIENT_NAME, "Yamada^Tarou=山田^太郎", two_groups), Ok(true));
        assert_eq!(matches(tags::PATIENT_NAME, "田山^*", two_groups), Ok(false));
    }

    #[test]
    fn a_value_that_cannot_be_compared_is_rejected() {
        for (tag, value) in [
            (tags::PATIENT_NAME, "Doe^J,Roe^R"),
            (tags::PATIENT_ID, "a\\b"),
            (tags::PATIENT_ID, "\"\""),
            (tags::STUDY_DATE, "2024 01"),
        ] {
            assert!(narrow(tag, value).is_err(), "{value}");
        }
        let latin =
            r#"{"00080005":{"Value":["ISO_IR 100"]},"00100010":{"vr":"PN","Value":[{"Alphabetic":"^"}]}}"#;
        assert!(matches(tags::PATIENT_NAME, "山田^*", latin).is_err());
        assert_eq!(matches(tags::PATIENT_NAME, "Doe^*", latin), Ok(false));
        assert!(matches(tags::STUDY_DESCRIPTION, "Chest CT", "{}").is_err());
    }

    proptest! {
        #[test]
        fn wildcard_matching_agrees_with_a_recursive_matcher(pattern in "[ab*?]{0,8}", text in "[ab]{0,8}") {
            fn matches_recursively(pattern: &[u8], text: &[u8]) -> bool {
                match pattern.split_first() {
                    None => text.is_empty(),
                    Some((b'*', rest)) => (0..=text.len()).any(|index| matches_recursively(rest, &text[index..])),
                    Some((b'?', rest)) => !text.is_empty() && matches_recursively(rest, &text[1..]),
                    Some((first, rest)) => text.first() == Some(first) && matches_recursively(rest, &text[1..]),
                }
            }
            prop_assert_eq!(matches_pattern(&pattern, &text), matches_recursively(pattern.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn a_widened_pattern_covers_the_value(value in "[A-Z^ +é*?/]{1,10}") {
            if let Some(MatchValue(pattern)) = MatchValue::widen(&value, false) {
                prop_assert!(pattern.bytes().all(is_unescaped), "{}", pattern);
                prop_assert!(matches_pattern(&pattern, value.trim_matches(' ')), "{} {}", pattern, value);
            }
        }
    }
}

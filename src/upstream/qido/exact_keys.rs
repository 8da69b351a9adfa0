//! The keys of a search that every row of its response can be compared with exactly: UIDs, dates, and single values without
//! matching operators (PS3.4 C.2.2.2.1, C.2.2.2.2, C.2.2.2.5).
//!
//! Some archives ignore a key, or a UID in the path, and return the objects of other patients. An attribute that a
//! row lacks is not compared, but an attribute without a value does not match a value (PS3.4 C.2.2.2.1). Names, patterns and lists
//! of other values are not compared, because archives match them in different ways.

use super::{QidoQuery, SearchLevel};
use dicom_core::VR;
use dicom_model::{Attributes, DicomDate, Tag, Uid, UidRule, tag, tags};

/// The keys that rows are compared with. Without keys every row matches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExactKeys {
    keys: Vec<(Tag, ExactKey)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum ExactKey {
    /// One of these values.
    AnyOf(Vec<String>),
    /// From the first to the last day, inclusive.
    Days(Option<DicomDate>, Option<DicomDate>),
}

/// Attributes whose single values are compared, because they have the same meaning in every archive.
const SINGLE_VALUE_ATTRIBUTES: [Tag; 6] = [
    tags::PATIENT_ID,
    tags::ISSUER_OF_PATIENT_ID,
    tags::ACCESSION_NUMBER,
    tags::STUDY_ID,
    tags::MODALITY,
    tags::MODALITIES_IN_STUDY,
];

impl ExactKeys {
    /// Returns the keys of `query` and the UIDs in its path.
    pub fn from_query(query: &QidoQuery) -> Self {
        let path_key = |tag: Tag, uid: &Uid| (tag, ExactKey::AnyOf(vec![uid.as_str().to_owned()]));
        let mut keys = match query.level() {
            SearchLevel::Studies | SearchLevel::AllSeries | SearchLevel::AllInstances => Vec::new(),
            SearchLevel::Series { study } | SearchLevel::Instances { study } => {
                vec![path_key(tags::STUDY_INSTANCE_UID, study.uid())]
            }
            SearchLevel::SeriesInstances { study, series } => vec![
                path_key(tags::STUDY_INSTANCE_UID, study.uid()),
                path_key(tags::SERIES_INSTANCE_UID, series.uid()),
            ],
        };
        let matches = query.matches.iter();
        keys.extend(matches.filter_map(|(tag, value)| Some((*tag, ExactKey::read(*tag, &value.0)?))));
        Self { keys }
    }

    /// Whether every row matches.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether the attributes of `row`, an object in DICOM JSON, match the keys. A missing attribute is not compared.
    /// An empty UID or Modalities in Study is not compared either, because archives leave these attributes empty if they do not
    /// compute them. `None` if the row cannot be compared.
    pub fn match_row(&self, row: &str) -> Option<bool> {
        let tags: Vec<_> = self.keys.iter().map(|(tag, _)| *tag).collect();
        Attributes::read_elements(row, &tags).ok().map(|row| self.match_attributes(&row))
    }

    /// Returns the tags of the attributes that are compared, which may be repeated.
    pub fn tags(&self) -> impl Iterator<Item = Tag> {
        self.keys.iter().map(|(tag, _)| *tag)
    }

    /// Whether a row with this only value of an attribute matches the keys of the attribute. The value must not be padding.
    pub fn match_value(&self, tag: Tag, value: &str) -> bool {
        self.keys.iter().filter(|(key, _)| *key == tag).all(|(_, key)| key.matches(std::iter::once(value)))
    }

    fn match_attributes(&self, row: &Attributes) -> bool {
        self.keys.iter().all(|(tag, key)| {
            let has_value = row.texts(*tag).any(|value| !value.trim_matches(' ').is_empty());
            let is_empty = || row.get(*tag).is_none_or(|element| element.values.is_empty());
            if has_value {
                key.matches(row.texts(*tag))
            } else {
                !row.contains(*tag) || may_be_empty(*tag) && is_empty()
            }
        })
    }
}

/// Whether an object that matches a value of the attribute may have a row in which the attribute is empty.
fn may_be_empty(tag: Tag) -> bool {
    tag == tags::MODALITIES_IN_STUDY || tag::value_representation(tag) == Some(VR::UI)
}

impl ExactKey {
    fn read(tag: Tag, value: &str) -> Option<Self> {
        match tag::value_representation(tag)? {
            VR::UI => {
                let uids: Vec<_> = value.split(',').map(|uid| uid.trim().to_owned()).collect();
                uids.iter().all(|uid| UidRule::Lenient.accepts(uid)).then_some(Self::AnyOf(uids))
            }
            VR::DA => {
                let (first, last) = value.split_once('-').unwrap_or((value, value));
                let day = |text: &str| match text.trim() {
                    "" => Some(None),
                    text => DicomDate::parse(text).map(Some),
                };
                Some(Self::Days(day(first)?, day(last)?))
            }
            _ if SINGLE_VALUE_ATTRIBUTES.contains(&tag) => {
                let value = value.trim_matches(' ');
                let is_single = !value.is_empty() && !value.contains(['*', '?', ',', '\\', '"']);
                is_single.then(|| Self::AnyOf(vec![value.to_owned()]))
            }
            _ => None,
        }
    }

    fn matches<'a>(&self, mut values: impl Iterator<Item = &'a str>) -> bool {
        match self {
            Self::AnyOf(requested) => {
                values.any(|value| requested.iter().any(|one| one == value.trim_matches(' ')))
            }
            // A date that cannot be read cannot be compared.
            Self::Days(first, last) => values.any(|value| {
                DicomDate::parse(value).is_none_or(|date| {
                    first.is_none_or(|first| first <= date) && last.is_none_or(|last| date <= last)
                })
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::MatchValue;

    fn matches(tag: Tag, value: &str, row: &str) -> bool {
        let query = QidoQuery::new(SearchLevel::Studies).matching(tag, MatchValue::raw(value));
        ExactKeys::from_query(&query).match_row(row).unwrap()
    }

    fn row(tag: Tag, values: &[&str]) -> String {
        format!("{{\"{}\":{{\"Value\":{values:?}}}}}", tag::hex(tag))
    }

    #[test]
    fn single_values_uids_and_dates_are_compared() {
        for (tag, value, row_value, expected) in [
            (tags::PATIENT_ID, "P1", "P1", true),
            (tags::PATIENT_ID, "P1 ", "P1", true),
            (tags::PATIENT_ID, "P1", "P2", false),
            (tags::PATIENT_ID, "P1", "p1", false),
            (tags::ACCESSION_NUMBER, "7", "07", false),
            (tags::STUDY_ID, "7", "8", false),
            (tags::ISSUER_OF_PATIENT_ID, "HOSP", "HOSP", true),
            (tags::ISSUER_OF_PATIENT_ID, "HOSP", "OTHER", false),
            (tags::STUDY_INSTANCE_UID, "1.2,1.3", "1.3", true),
            (tags::STUDY_INSTANCE_UID, "1.2,1.3", "1.4", false),
            (tags::STUDY_INSTANCE_UID, "1.2,ab-1", "ab-1", true),
            (tags::STUDY_INSTANCE_UID, "ab-1", "ab-2", false),
            (tags::STUDY_DATE, "20240131", "20240131", true),
            (tags::STUDY_DATE, "20240131", "20240201", false),
            (tags::STUDY_DATE, "20240101-20240131", "20240115", true),
            (tags::STUDY_DATE, "20240101-", "20231231", false),
            (tags::STUDY_DATE, "-20240101", "20240102", false),
            (tags::STUDY_DATE, "20240101", "unknown", true),
            (tags::MODALITIES_IN_STUDY, "CT", "MR", false),
        ] {
            assert_eq!(matches(tag, value, &row(tag, &[row_value])), expected, "{value} {row_value}");
            assert!(matches(tag, value, "{}"), "a row without the attribute");
            for unreadable in [r#"{"Value":[["1.2"]]}"#, r#"{"InlineBinary":"MS4y"}"#, r#"{"Value":[true]}"#]
            {
                let row = format!("{{\"{}\":{unreadable}}}", tag::hex(tag));
                assert!(!matches(tag, value, &row), "{row}");
            }
            let is_compared = !matches!(tag, tags::STUDY_INSTANCE_UID | tags::MODALITIES_IN_STUDY);
            for empty in
                [row(tag, &[]), row(tag, &[""]), format!("{{\"{}\":{{\"vr\":\"LO\"}}}}", tag::hex(tag))]
            {
                assert_eq!(matches(tag, value, &empty), !is_compared, "{empty}");
            }
        }
        assert!(matches(tags::MODALITIES_IN_STUDY, "CT", &row(tags::MODALITIES_IN_STUDY, &["SR", "CT"])));
    }

    #[test]
    fn patterns_names_and_lists_are_not_compared() {
        for (tag, value) in [
            (tags::PATIENT_ID, "P*"),
            (tags::PATIENT_ID, "P?"),
            (tags::PATIENT_ID, "P1,P2"),
            (tags::PATIENT_ID, "\"\""),
            (tags::PATIENT_NAME, "Doe^Jane"),
            (tags::STUDY_DESCRIPTION, "CT"),
            (tags::STUDY_INSTANCE_UID, "1.2.*"),
            (tags::STUDY_DATE, "2024"),
        ] {
            let query = QidoQuery::new(SearchLevel::Studies).matching(tag, MatchValue::raw(value));
            assert!(ExactKeys::from_query(&query).is_empty(), "{value}");
        }
    }
}

//! A search: its level, match values, attributes and paging (PS3.18 8.3.4, 10.6.1).

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::SearchLevel;
use super::value::{MatchValue, escape, is_unescaped};
use dicom_core::VR;
use dicom_model::{Tag, UidRule, tag, tags};

/// Whether the rule for the UIDs of an archive concerns the values of the attribute: it is the UID of a study, a series or an instance.
pub fn is_object_uid(tag: Tag) -> bool {
    matches!(tag, tags::STUDY_INSTANCE_UID | tags::SERIES_INSTANCE_UID | tags::SOP_INSTANCE_UID)
}

/// A search. If a key is set twice, the later value replaces the earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct QidoQuery {
    level: SearchLevel,
    pub(super) matches: Vec<(Tag, MatchValue)>,
    include: Vec<Tag>,
    include_all: bool,
    options: Vec<(MatchingOption, bool)>,
    limit: Option<u32>,
    offset: Option<u32>,
    /// The form of `includefield`, if it is not that of the profile.
    include_style: Option<IncludeStyle>,
    /// Whether characters are escaped that need no escape.
    is_fully_escaped: bool,
}

impl QidoQuery {
    /// Creates a search for all objects at `level`.
    pub fn new(level: SearchLevel) -> Self {
        Self {
            level,
            matches: Vec::new(),
            include: Vec::new(),
            include_all: false,
            options: Vec::new(),
            limit: None,
            offset: None,
            include_style: None,
            is_fully_escaped: false,
        }
    }

    /// Adds a matching key: objects match only if they have `value` in `tag`.
    #[must_use]
    pub fn matching(mut self, tag: Tag, value: MatchValue) -> Self {
        self.matches.retain(|(earlier, _)| *earlier != tag);
        self.matches.push((tag, value));
        self
    }

    /// Removes the match value of `tag`.
    #[must_use]
    pub(super) fn without(mut self, tag: Tag) -> Self {
        self.matches.retain(|(earlier, _)| *earlier != tag);
        self
    }

    /// Requests additional attributes (PS3.18 8.3.4.3).
    #[must_use]
    pub fn include(mut self, tags: &[Tag]) -> Self {
        self.include.extend_from_slice(tags);
        self
    }

    /// Requests the attributes in this form instead of that of the profile.
    #[must_use]
    pub(in crate::upstream) fn with_include_style(self, style: IncludeStyle) -> Self {
        Self { include_style: Some(style), ..self }
    }

    /// Escapes every character of the match values except letters and digits. An archive that decodes escapes finds the same.
    #[must_use]
    pub(in crate::upstream) fn fully_escaped(self) -> Self {
        Self { is_fully_escaped: true, ..self }
    }

    /// Requests every attribute that the archive has.
    #[must_use]
    pub fn include_all(mut self) -> Self {
        self.include_all = true;
        self
    }

    /// Enables a matching option, or disables it explicitly.
    #[must_use]
    pub fn option(mut self, option: MatchingOption, is_enabled: bool) -> Self {
        self.options.retain(|(earlier, _)| *earlier != option);
        self.options.push((option, is_enabled));
        self
    }

    /// Requests at most `limit` rows after the first `offset` rows.
    #[must_use]
    pub fn page(self, limit: u32, offset: u32) -> Self {
        self.limit(limit).offset(offset)
    }

    /// Requests at most `limit` rows.
    #[must_use]
    pub fn limit(mut self, limit: u32) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Skips the first `offset` rows.
    #[must_use]
    pub fn offset(mut self, offset: u32) -> Self {
        self.offset = Some(offset);
        self
    }

    /// Whether a matching option is enabled.
    pub(super) fn has_option(&self, option: MatchingOption) -> bool {
        self.options.contains(&(option, true))
    }

    /// Returns the level of the search.
    pub fn level(&self) -> &SearchLevel {
        &self.level
    }

    /// Whether the search has a match value for `tag`.
    pub fn is_matching(&self, tag: Tag) -> bool {
        self.matches.iter().any(|(key, _)| *key == tag)
    }

    /// Returns the strictest rule that accepts the UIDs in the path and among the match values. A pattern matches UIDs of any rule.
    pub fn uid_rule(&self) -> UidRule {
        let values = self.matches.iter().filter(|(tag, _)| is_object_uid(*tag));
        let values = values.flat_map(|(_, MatchValue(value))| value.split(','));
        let rules = values.filter_map(|value| UidRule::of(value.trim_matches(' ')));
        rules.max().unwrap_or_default().max(self.level.uid_rule())
    }

    /// Returns the search without the UIDs that `rule` does not accept; `None` if it can find nothing without them.
    #[must_use]
    pub fn restricted_to(&self, rule: UidRule) -> Option<Self> {
        if self.level.uid_rule() > rule {
            return None;
        }
        let mut query = self.clone();
        for (_, MatchValue(value)) in query.matches.iter_mut().filter(|(tag, _)| is_object_uid(*tag)) {
            let is_accepted =
                |item: &&str| UidRule::of(item.trim_matches(' ')).is_none_or(|needed| needed <= rule);
            let accepted: Vec<_> = value.split(',').filter(is_accepted).collect();
            if accepted.is_empty() {
                return None;
            }
            *value = accepted.join(",");
        }
        Some(query)
    }

    /// Returns searches whose lists of UIDs have at most `max_uids` UIDs each, and whose results together are those of this search.
    /// They are in the order of the UIDs, without repeated UIDs.
    pub fn split_uid_lists(&self, max_uids: usize) -> Vec<Self> {
        let mut searches = vec![self.clone()];
        for (tag, MatchValue(value)) in &self.matches {
            let is_uid = tag::value_representation(*tag) == Some(VR::UI);
            if !is_uid || value.split(',').count() <= max_uids {
                continue;
            }
            let mut known = HashSet::new();
            let uids = value.split(',').map(|uid| uid.trim_matches(' '));
            let uids: Vec<&str> = uids.filter(|uid| !uid.is_empty() && known.insert(*uid)).collect();
            let lists: Vec<_> = uids.chunks(max_uids.max(1)).map(|uids| uids.join(",")).collect();
            let with_list =
                |search: &Self, list: &String| search.clone().matching(*tag, MatchValue(list.clone()));
            searches = searches
                .iter()
                .flat_map(|search| lists.iter().map(move |list| with_list(search, list)))
                .collect();
        }
        searches
    }

    /// Whether the search has no match value, except perhaps for `tag`.
    pub fn is_matching_only(&self, tag: Tag) -> bool {
        self.matches.iter().all(|(key, _)| *key == tag)
    }

    /// Returns the match values for the Study Instance UID.
    pub fn study_uids(&self) -> Vec<&str> {
        let is_study = |(tag, _): &&(Tag, MatchValue)| *tag == tags::STUDY_INSTANCE_UID;
        let list = self.matches.iter().find(is_study).map(|(_, MatchValue(list))| list.split(','));
        list.into_iter().flatten().map(|uid| uid.trim_matches(' ')).collect()
    }

    /// Whether a match value contains a character that must be escaped.
    pub fn needs_escapes(&self) -> bool {
        self.matches.iter().any(|(_, MatchValue(value))| !value.bytes().all(is_unescaped))
    }

    /// Returns the UIDs of the studies and of the series to which the search is restricted; `None` where it is not restricted.
    pub(super) fn requested_parents(&self) -> [Option<HashSet<&str>>; 2] {
        fn only(uid: &str) -> HashSet<&str> {
            HashSet::from([uid])
        }
        match &self.level {
            SearchLevel::Series { study } | SearchLevel::Instances { study } => {
                [Some(only(study.as_str())), None]
            }
            SearchLevel::SeriesInstances { study, series } => {
                [Some(only(study.as_str())), Some(only(series.as_str()))]
            }
            SearchLevel::Studies | SearchLevel::AllSeries | SearchLevel::AllInstances => {
                let studies = self.study_uids();
                [(!studies.is_empty()).then(|| studies.into_iter().collect()), None]
            }
        }
    }

    /// Returns `limit` and `offset`.
    pub fn window(&self) -> (Option<u32>, u32) {
        (self.limit, self.offset.unwrap_or(0))
    }

    /// Returns the search as text, which is equal for equal searches: the key of caches and of single flight.
    pub fn canonical(&self) -> String {
        format!("{}?{}", self.level.path(), self.query_string(IncludeStyle::Repeated))
    }

    /// Builds the query string. Values are escaped only here.
    pub(in crate::upstream) fn query_string(&self, style: IncludeStyle) -> String {
        let mut query = String::new();
        let mut push = |name: &str, value: &str| {
            if !query.is_empty() {
                query.push('&');
            }
            query.push_str(name);
            query.push('=');
            query.push_str(value);
        };
        for (tag, MatchValue(value)) in &self.matches {
            push(&name_of(*tag), &escape(value, self.is_fully_escaped));
        }
        match self.include_style.unwrap_or(style) {
            _ if self.include_all => push("includefield", "all"),
            IncludeStyle::Repeated => {
                self.include.iter().for_each(|tag| push("includefield", &tag::hex(*tag)));
            }
            IncludeStyle::List if self.include.is_empty() => {}
            IncludeStyle::List => {
                push(
                    "includefield",
                    &self.include.iter().map(|tag| tag::hex(*tag)).collect::<Vec<_>>().join(","),
                );
            }
        }
        for (option, is_enabled) in &self.options {
            push(option.parameter(), if *is_enabled { "true" } else { "false" });
        }
        if let Some(limit) = self.limit {
            push("limit", &limit.to_string());
        }
        // Some archives reject `offset=0`, which is the default.
        if let Some(offset) = self.offset.filter(|offset| *offset > 0) {
            push("offset", &offset.to_string());
        }
        query
    }
}

/// Matching options beyond PS3.4 C.2.2.2 (PS3.18 8.3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MatchingOption {
    /// Fuzzy matching of names that sound alike.
    Fuzzy,
    /// `""` matches attributes without a value.
    EmptyValue,
    /// A list of values separated by `\` matches any of them.
    MultipleValue,
}

impl MatchingOption {
    fn parameter(self) -> &'static str {
        match self {
            Self::Fuzzy => "fuzzymatching",
            Self::EmptyValue => "emptyvaluematching",
            Self::MultipleValue => "multiplevaluematching",
        }
    }
}

/// The form in which an archive accepts several attributes in `includefield`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum IncludeStyle {
    /// `includefield=a&includefield=b`.
    Repeated,
    /// `includefield=a,b`, for archives that reject a repeated key.
    List,
}

/// Returns the keyword of an attribute of the standard, because some archives know only keywords; for other attributes, the tag
/// in hexadecimal digits.
fn name_of(tag: Tag) -> String {
    tag::keyword(tag).map_or_else(|| tag::hex(tag), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::qido::*;
    use dicom_model::StudyUid;
    use proptest::prelude::*;

    #[test]
    fn a_search_is_restricted_to_the_uids_that_a_rule_accepts() {
        let query = |value: &str| {
            QidoQuery::new(SearchLevel::Studies).matching(tags::STUDY_INSTANCE_UID, MatchValue::raw(value))
        };
        let restricted =
            |value: &str| query(value).restricted_to(UidRule::Strict).map(|query| query.canonical());
        assert_eq!(restricted("1.2,ab-1, 1.3").unwrap(), "studies?StudyInstanceUID=1.2,%201.3");
        assert_eq!(restricted("*").unwrap(), "studies?StudyInstanceUID=*");
        assert_eq!(restricted("ab-1,a_b"), None);
        assert_eq!(query("1.2,ab-1").uid_rule(), UidRule::Lenient);
        assert_eq!(query("1.2,1.3").uid_rule(), UidRule::Strict);
        assert_eq!(query("1.2,ab-1").restricted_to(UidRule::Lenient), Some(query("1.2,ab-1")));
        let study = StudyUid::parse_by(UidRule::Lenient, "ab-1").unwrap();
        let below = QidoQuery::new(SearchLevel::Series { study });
        assert_eq!((below.uid_rule(), below.restricted_to(UidRule::Strict)), (UidRule::Lenient, None));
    }

    #[test]
    fn long_lists_of_uids_are_split_in_their_order_without_repeated_uids() {
        let split = |value: &str, max_uids| -> Vec<String> {
            let query =
                QidoQuery::new(SearchLevel::Studies).matching(tags::MODALITY, MatchValue::raw("CT,MR,US"));
            let query = query.matching(tags::STUDY_INSTANCE_UID, MatchValue::raw(value)).limit(7);
            query
                .split_uid_lists(max_uids)
                .iter()
                .map(|query| query.query_string(IncludeStyle::List))
                .collect()
        };
        let expected = |lists: &[&str]| {
            lists
                .iter()
                .map(|list| format!("Modality=CT,MR,US&StudyInstanceUID={list}&limit=7"))
                .collect::<Vec<_>>()
        };
        assert_eq!(split("1.3,1.2", 2), expected(&["1.3,1.2"]));
        assert_eq!(split("1.3,1.2, 1.1,1.3,,1.5", 2), expected(&["1.3,1.2", "1.1,1.5"]));
        assert_eq!(split("1.3,1.2", 1), expected(&["1.3", "1.2"]));
        let two_lists = QidoQuery::new(SearchLevel::AllInstances)
            .matching(tags::STUDY_INSTANCE_UID, MatchValue::raw("1,2,3"))
            .matching(tags::SOP_CLASS_UID, MatchValue::raw("4,5,6"));
        let canonical: Vec<_> = two_lists.split_uid_lists(2).iter().map(QidoQuery::canonical).collect();
        assert_eq!(
            canonical,
            [("1,2", "4,5"), ("1,2", "6"), ("3", "4,5"), ("3", "6")].map(|(studies, classes)| format!(
                "instances?StudyInstanceUID={studies}&SOPClassUID={classes}"
            ))
        );
    }

    #[test]
    fn equal_searches_have_equal_text() {
        let study = StudyUid::parse("1.2.3").unwrap();
        let query = QidoQuery::new(SearchLevel::Series { study })
            .matching(tags::MODALITY, MatchValue::exact("CT").unwrap())
            .include(&[tags::LATERALITY, tags::BODY_PART_EXAMINED])
            .page(10, 20);
        assert_eq!(
            query.canonical(),
            "studies/1.2.3/series?Modality=CT&includefield=00200060&includefield=00180015&limit=10&offset=20"
        );
        assert_eq!(
            query.query_string(IncludeStyle::List),
            "Modality=CT&includefield=00200060,00180015&limit=10&offset=20"
        );
    }

    proptest! {
        #[test]
        fn a_value_cannot_add_a_key(value in "\\PC{0,40}") {
            let query = QidoQuery::new(SearchLevel::Studies).matching(tags::PATIENT_ID, MatchValue::raw(&value));
            let text = query.query_string(IncludeStyle::Repeated);
            let escaped = text.strip_prefix("PatientID=").unwrap();
            prop_assert!(!escaped.contains(['&', '=', '#', ' ', '\\']), "{}", escaped);
            prop_assert!(escaped.is_ascii());
        }
    }
}

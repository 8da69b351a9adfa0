//! Searches as PS3.18 10.6 defines them, made of typed parts.

use std::fmt::Write;

use crate::dicom::{DicomDate, SeriesUid, StudyUid, Tag, Uid, tag};

/// What is searched for, and below what (PS3.18 table 10.6.1-1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SearchLevel {
    /// `/studies`.
    Studies,
    /// `/studies/{study}/series`.
    Series {
        /// The study.
        study: StudyUid,
    },
    /// `/studies/{study}/instances`.
    Instances {
        /// The study.
        study: StudyUid,
    },
    /// `/studies/{study}/series/{series}/instances`.
    SeriesInstances {
        /// The study.
        study: StudyUid,
        /// The series.
        series: SeriesUid,
    },
    /// `/series`.
    AllSeries,
    /// `/instances`.
    AllInstances,
}

impl SearchLevel {
    /// The path below the QIDO-RS root, without a leading slash.
    pub(super) fn path(&self) -> String {
        match self {
            Self::Studies => "studies".to_owned(),
            Self::Series { study } => format!("studies/{study}/series"),
            Self::Instances { study } => format!("studies/{study}/instances"),
            Self::SeriesInstances { study, series } => format!("studies/{study}/series/{series}/instances"),
            Self::AllSeries => "series".to_owned(),
            Self::AllInstances => "instances".to_owned(),
        }
    }
}

/// A value to match by, which no archive can read in another way than it is meant.
///
/// Archives take `*`, `?`, `,` and `\` as operators wherever they stand, and some do not decode percent-escapes at all.
/// So a literal is made only of characters that mean themselves everywhere, and everything else is a pattern that covers
/// the value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MatchValue(String);

impl MatchValue {
    /// `text` itself; `None` when an archive could read it as something else.
    pub fn exact(text: &str) -> Option<Self> {
        let text = text.trim_matches(' ');
        (!text.is_empty() && text.bytes().all(means_itself)).then(|| Self(text.to_owned()))
    }

    /// A pattern that `text` matches, with `*` for whatever could be misread; `None` when nothing else remains, as that
    /// would be an open query.
    pub fn covering(text: &str) -> Option<Self> {
        let mut pattern = String::new();
        for character in text.trim_matches(' ').chars() {
            if character.is_ascii() && means_itself(character as u8) {
                pattern.push(character);
            } else if !pattern.ends_with('*') {
                pattern.push('*');
            }
        }
        (pattern != "*" && !pattern.is_empty()).then_some(Self(pattern))
    }

    /// A pattern that the same literal matches with padding behind it too; `None` for what is no literal.
    pub fn padded(&self) -> Option<Self> {
        Self::exact(&self.0).map(|Self(exact)| Self(format!("{exact}*")))
    }

    /// Any of `uids` (PS3.18 8.3.4.1: a comma-separated list).
    pub fn any_of(uids: &[Uid]) -> Option<Self> {
        (!uids.is_empty()).then(|| Self(uids.iter().map(Uid::as_str).collect::<Vec<_>>().join(",")))
    }

    /// The days from `first` to `last`, both included (PS3.4 C.2.2.2.5); `None` without either, as that is open.
    pub fn days(first: Option<DicomDate>, last: Option<DicomDate>) -> Option<Self> {
        match (first, last) {
            (None, None) => None,
            (Some(first), Some(last)) if first == last => Some(Self(first.to_string())),
            (first, last) => {
                let text = |date: Option<DicomDate>| date.map(|date| date.to_string()).unwrap_or_default();
                Some(Self(format!("{}-{}", text(first), text(last))))
            }
        }
    }

    /// A value that a DICOMweb client wrote itself, with every operator it may hold.
    pub fn verbatim(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Whether every archive reads the byte as itself, escaped or not. A hyphen makes a range only in dates and times, which
/// are never made from text.
fn means_itself(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'~')
}

/// One search. Building it cannot fail; a key that is given twice is an error of ours, so the later one stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct QidoQuery {
    pub(super) level: SearchLevel,
    matches: Vec<(Tag, MatchValue)>,
    include: Vec<Tag>,
    include_all: bool,
    manners: Vec<(MatchingManner, bool)>,
    limit: Option<u32>,
    offset: Option<u32>,
}

impl QidoQuery {
    /// A search for everything at `level`.
    pub fn new(level: SearchLevel) -> Self {
        Self {
            level,
            matches: Vec::new(),
            include: Vec::new(),
            include_all: false,
            manners: Vec::new(),
            limit: None,
            offset: None,
        }
    }

    /// Only what has `value` under `tag`.
    #[must_use]
    pub fn matching(mut self, tag: Tag, value: MatchValue) -> Self {
        self.matches.retain(|(earlier, _)| *earlier != tag);
        self.matches.push((tag, value));
        self
    }

    /// These attributes too (PS3.18 8.3.4.3).
    #[must_use]
    pub fn include(mut self, tags: &[Tag]) -> Self {
        self.include.extend_from_slice(tags);
        self
    }

    /// Every attribute that the archive has.
    #[must_use]
    pub fn include_all(mut self) -> Self {
        self.include_all = true;
        self
    }

    /// Matching in that manner, or explicitly not.
    #[must_use]
    pub fn manner(mut self, manner: MatchingManner, wanted: bool) -> Self {
        self.manners.retain(|(earlier, _)| *earlier != manner);
        self.manners.push((manner, wanted));
        self
    }

    /// At most `limit` rows, from the row behind the first `offset`.
    #[must_use]
    pub fn page(self, limit: u32, offset: u32) -> Self {
        self.limit(limit).offset(offset)
    }

    /// At most `limit` rows.
    #[must_use]
    pub fn limit(mut self, limit: u32) -> Self {
        self.limit = Some(limit);
        self
    }

    /// From the row behind the first `offset`.
    #[must_use]
    pub fn offset(mut self, offset: u32) -> Self {
        self.offset = Some(offset);
        self
    }

    /// Where it searches.
    pub fn level(&self) -> &SearchLevel {
        &self.level
    }

    /// Whether it matches by `tag`.
    pub fn is_matching(&self, tag: Tag) -> bool {
        self.matches.iter().any(|(key, _)| *key == tag)
    }

    /// How many rows it asks for, and behind how many.
    pub fn window(&self) -> (Option<u32>, u32) {
        (self.limit, self.offset.unwrap_or(0))
    }

    /// The search as text, the same for the same search: the key of caches and single flights.
    pub fn canonical(&self) -> String {
        format!("{}?{}", self.level.path(), self.query_string(IncludeStyle::Repeated))
    }

    /// The query string, escaped once, here and nowhere else.
    pub(super) fn query_string(&self, style: IncludeStyle) -> String {
        let mut query = String::new();
        let mut push = |name: &str, value: &str| {
            if !query.is_empty() {
                query.push('&');
            }
            query.push_str(name);
            query.push('=');
            escape_into(&mut query, value);
        };
        for (tag, MatchValue(value)) in &self.matches {
            push(&name_of(*tag), value);
        }
        match style {
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
        for (manner, wanted) in &self.manners {
            push(manner.parameter(), if *wanted { "true" } else { "false" });
        }
        if let Some(limit) = self.limit {
            push("limit", &limit.to_string());
        }
        // Some archives refuse `offset=0`, and it says nothing.
        if let Some(offset) = self.offset.filter(|offset| *offset > 0) {
            push("offset", &offset.to_string());
        }
        query
    }
}

/// Matching that a search asks for beyond that of PS3.4 C.2.2.2 (PS3.18 8.3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MatchingManner {
    /// Names that sound alike.
    Fuzzy,
    /// `""` finds attributes without a value.
    EmptyValue,
    /// A list of values, parted by `\`, finds any of them.
    MultipleValue,
}

impl MatchingManner {
    fn parameter(self) -> &'static str {
        match self {
            Self::Fuzzy => "fuzzymatching",
            Self::EmptyValue => "emptyvaluematching",
            Self::MultipleValue => "multiplevaluematching",
        }
    }
}

/// How an archive wants several attributes to be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IncludeStyle {
    /// `includefield=a&includefield=b`.
    Repeated,
    /// `includefield=a,b`: for archives that refuse a repeated key.
    List,
}

/// Keywords for attributes of the standard, since some archives know only those; hexadecimal digits for the others.
fn name_of(tag: Tag) -> String {
    tag::keyword(tag).map_or_else(|| tag::hex(tag), str::to_owned)
}

/// Percent-escapes all but what means itself in a query and the operators of matching, which some archives know only
/// unescaped.
fn escape_into(query: &mut String, value: &str) {
    for byte in value.bytes() {
        if means_itself(byte) || matches!(byte, b'*' | b'?' | b',' | b':') {
            query.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(query, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::tags;
    use proptest::prelude::*;

    #[test]
    fn a_value_that_an_archive_could_misread_is_no_literal() {
        assert!(MatchValue::exact("P-1.2_3~x").is_some());
        for misread in ["", " ", "P*1", "P?1", "P\\1", "P,1", "P 1", "P+1", "P%31", "P&x", "Ж", "P\r\n"] {
            assert_eq!(MatchValue::exact(misread), None, "{misread:?}");
        }
    }

    #[test]
    fn a_covering_pattern_is_never_an_open_query() {
        let covering = |text| MatchValue::covering(text).map(|MatchValue(pattern)| pattern);
        assert_eq!(covering("P*1").as_deref(), Some("P*1"));
        assert_eq!(covering("Müller, A").as_deref(), Some("M*ller*A"));
        assert_eq!(covering("a\\b").as_deref(), Some("a*b"));
        for open in ["", "*", "??", "山田", " , "] {
            assert_eq!(covering(open), None, "{open:?}");
        }
    }

    #[test]
    fn a_search_is_written_the_same_each_time() {
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

    #[test]
    fn days_make_ranges() {
        let day = |text| DicomDate::parse(text);
        let text = |first, last| MatchValue::days(first, last).map(|MatchValue(text)| text);
        assert_eq!(text(day("20240101"), day("20240131")).as_deref(), Some("20240101-20240131"));
        assert_eq!(text(day("20240101"), day("20240101")).as_deref(), Some("20240101"));
        assert_eq!(text(day("20240101"), None).as_deref(), Some("20240101-"));
        assert_eq!(text(None, day("20240101")).as_deref(), Some("-20240101"));
        assert_eq!(text(None, None), None);
    }

    proptest! {
        #[test]
        fn no_value_writes_a_key_of_its_own(value in "\\PC{0,40}") {
            let query = QidoQuery::new(SearchLevel::Studies).matching(tags::PATIENT_ID, MatchValue::verbatim(&value));
            let text = query.query_string(IncludeStyle::Repeated);
            let written = text.strip_prefix("PatientID=").unwrap();
            prop_assert!(!written.contains(['&', '=', '#', ' ', '\\']), "{}", written);
            prop_assert!(written.is_ascii());
        }

        #[test]
        fn a_covering_pattern_covers(value in "[a-zA-Z0-9*?,\\\\ é^]{1,12}") {
            if let Some(MatchValue(pattern)) = MatchValue::covering(&value) {
                prop_assert!(covers(&pattern, value.trim_matches(' ')));
            }
        }
    }

    fn covers(pattern: &str, text: &str) -> bool {
        match pattern.chars().next() {
            None => text.is_empty(),
            Some('*') => text
                .char_indices()
                .map(|(at, _)| at)
                .chain([text.len()])
                .any(|at| covers(&pattern[1..], &text[at..])),
            Some(first) => text.starts_with(first) && covers(&pattern[1..], &text[1..]),
        }
    }
}

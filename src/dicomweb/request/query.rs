//! Query parameters of searches (PS3.18 8.3.4, 10.6.1.2) and retrievals (8.3.3, 8.3.5, 10.4.1.2), read into typed parts.
//!
//! Archives ignore a key that they do not know and answer with every patient, let the last of two equal keys win, and
//! take an alias for another key. So only attributes that PS3.6 names may be matched, each once, and whatever is not
//! known here is refused, though PS3.18 8.3.4 would have it ignored.

use std::collections::BTreeSet;

use http::{HeaderMap, HeaderValue, header};

use super::DicomwebRequest;
use crate::upstream::{MatchValue, MatchingOption, QidoQuery, Rendering, SearchLevel};
use dicom_model::{Tag, tag};

/// No archive answers with more rows at once.
const MAX_ROWS: u32 = 50_000;

/// No archive counts further.
const FURTHEST_OFFSET: u32 = 1_000_000;

/// More attributes than that are asked for by `includefield=all`.
const MAX_INCLUDED: usize = 256;

/// A list of a few hundred UIDs is as long.
const MAX_VALUE_LEN: usize = 32 * 1024;

/// Why a query is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The key is no attribute of PS3.6 and no parameter of PS3.18.
    #[error(
        "\"{0}\" is neither an attribute of DICOM PS3.6 nor a query parameter of PS3.18 that is supported here"
    )]
    UnknownKey(String),
    /// The key names an attribute inside a sequence.
    #[error(
        "\"{0}\": matching inside sequences is not supported, as archives ignore it and answer with everything"
    )]
    InsideSequence(String),
    /// The key was given before, perhaps as keyword and as tag.
    #[error("\"{0}\" is given more than once, as keyword or as tag")]
    Twice(String),
    /// The key goes with another one.
    #[error("\"{0}\" needs \"{1}\" beside it")]
    Alone(String, &'static str),
    /// The key must be given.
    #[error("\"{0}\" is missing")]
    Missing(&'static str),
    /// The value is none that the parameter can have.
    #[error("\"{key}\" must be {expected}")]
    Value {
        /// As it was written.
        key: String,
        /// What could stand there.
        expected: &'static str,
    },
}

impl QueryError {
    /// `key` as far as it may be repeated to whoever sent it: no more than a keyword is long, and printable.
    pub(crate) fn shown(key: &str) -> String {
        key.chars().filter(char::is_ascii_graphic).take(64).collect()
    }

    pub(crate) fn value(key: &str, expected: &'static str) -> Self {
        Self::Value { key: Self::shown(key), expected }
    }
}

/// Parameters of every resource, which are read apart from the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CommonParameters {
    /// Media types that take the place of the `Accept` header (PS3.18 8.3.3.1).
    pub accept: Option<String>,
}

impl CommonParameters {
    /// The request's headers, with the parameters of the query that replace them.
    pub(crate) fn headers_of(&self, request: &DicomwebRequest<'_>) -> HeaderMap {
        let mut headers = request.headers.clone();
        if let Some(accept) = self.accept.as_ref().and_then(|accept| HeaderValue::from_str(accept).ok()) {
            headers.insert(header::ACCEPT, accept);
        }
        headers
    }

    /// Takes `key` when it is such a parameter; whether it was.
    fn take(&mut self, key: &str, value: &str) -> Result<bool, QueryError> {
        match key {
            "accept" => {
                let legal = |byte: u8| matches!(byte, b' '..=b'~');
                if value.is_empty() || value.len() > 1024 || !value.bytes().all(legal) {
                    return Err(QueryError::value(key, "a list of media types"));
                }
                if self.accept.replace(value.to_owned()).is_some() {
                    return Err(QueryError::Twice(key.to_owned()));
                }
                Ok(true)
            }
            // DICOM JSON is UTF-8, and so is all that is asked for here.
            "charset" if value.eq_ignore_ascii_case("utf-8") => Ok(true),
            "charset" => Err(QueryError::value(key, "utf-8")),
            _ => Ok(false),
        }
    }
}

/// Reads the decoded query of a search at `level`.
pub(crate) fn search(
    level: SearchLevel,
    pairs: &[(String, String)],
) -> Result<(QidoQuery, CommonParameters), QueryError> {
    let mut query = QidoQuery::new(level);
    let mut common = CommonParameters::default();
    let mut included = BTreeSet::new();
    let mut given = BTreeSet::new();
    for (key, value) in pairs {
        if common.take(key, value)? {
            continue;
        }
        if key == "includefield" {
            for field in value.split(',') {
                if field == "all" {
                    query = query.include_all();
                } else {
                    included.insert(field_named(field)?);
                }
            }
            if included.len() > MAX_INCLUDED {
                return Err(QueryError::value(key, "at most 256 attributes, or \"all\""));
            }
            continue;
        }
        let name = SearchKey::parse(key)?;
        if !given.insert(name) {
            return Err(QueryError::Twice(QueryError::shown(key)));
        }
        query = match name {
            SearchKey::Limit => query.limit(number(key, value, 1, MAX_ROWS, "a number from 1 to 50000")?),
            SearchKey::Offset => {
                query.offset(number(key, value, 0, FURTHEST_OFFSET, "a number from 0 to 1000000")?)
            }
            SearchKey::Manner(manner) => match value.as_str() {
                "true" => query.manner(manner, true),
                "false" => query.manner(manner, false),
                _ => return Err(QueryError::value(key, "\"true\" or \"false\"")),
            },
            // A key without a value matches everything and asks for the attribute (PS3.4 C.2.2.2.3). Sent as it is, some
            // archives would match only what is empty.
            SearchKey::Attribute(tag) if value.is_empty() => {
                included.insert(tag);
                query
            }
            SearchKey::Attribute(_) if value.len() > MAX_VALUE_LEN || value.chars().any(char::is_control) => {
                return Err(QueryError::value(key, "text without control characters, 32 kB at most"));
            }
            SearchKey::Attribute(tag) => query.matching(tag, MatchValue::raw(value)),
        };
    }
    let included: Vec<Tag> = included.into_iter().collect();
    Ok((query.include(&included), common))
}

/// Reads the decoded query of a retrieval. `drawn` says whether the resource is one that is rendered.
pub(crate) fn retrieval(
    drawn: bool,
    pairs: &[(String, String)],
) -> Result<(Rendering, CommonParameters), QueryError> {
    let mut rendering = Rendering::default();
    let mut common = CommonParameters::default();
    let mut given = BTreeSet::new();
    for (key, value) in pairs {
        if common.take(key, value)? {
            continue;
        }
        if !drawn || !Rendering::PARAMETERS.contains(&key.as_str()) {
            return Err(QueryError::UnknownKey(QueryError::shown(key)));
        }
        if !given.insert(key.as_str()) {
            return Err(QueryError::Twice(key.clone()));
        }
        let expected = "as PS3.18 8.3.5.1 writes it";
        rendering = rendering.with(key, value).ok_or_else(|| QueryError::value(key, expected))?;
    }
    Ok((rendering, common))
}

/// What a key of a search asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum SearchKey {
    Limit,
    Offset,
    Manner(MatchingOption),
    Attribute(Tag),
}

impl SearchKey {
    fn parse(key: &str) -> Result<Self, QueryError> {
        match key {
            "limit" => Ok(Self::Limit),
            "offset" => Ok(Self::Offset),
            "fuzzymatching" => Ok(Self::Manner(MatchingOption::Fuzzy)),
            "emptyvaluematching" => Ok(Self::Manner(MatchingOption::EmptyValue)),
            "multiplevaluematching" => Ok(Self::Manner(MatchingOption::MultipleValue)),
            _ => match tag::parse(key) {
                Some(tag) if tag::keyword(tag).is_some() => Ok(Self::Attribute(tag)),
                None if key.split_once('.').is_some_and(|(first, _)| tag::parse(first).is_some()) => {
                    Err(QueryError::InsideSequence(QueryError::shown(key)))
                }
                _ => Err(QueryError::UnknownKey(QueryError::shown(key))),
            },
        }
    }
}

/// The attribute that `field` names; of a path into a sequence, the sequence, which brings what is inside.
fn field_named(field: &str) -> Result<Tag, QueryError> {
    let outermost = field.split('.').next().unwrap_or_default();
    tag::parse(outermost)
        .ok_or_else(|| QueryError::value("includefield", "keywords or tags of attributes, or \"all\""))
}

fn number(key: &str, value: &str, least: u32, most: u32, expected: &'static str) -> Result<u32, QueryError> {
    let plain = value.bytes().all(|byte| byte.is_ascii_digit());
    let number = value.parse().ok().filter(|number| plain && (least..=most).contains(number));
    number.ok_or_else(|| QueryError::value(key, expected))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(query: &[(&str, &str)]) -> Vec<(String, String)> {
        query.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn written(query: &[(&str, &str)]) -> Result<String, QueryError> {
        search(SearchLevel::Studies, &pairs(query)).map(|(query, _)| query.canonical())
    }

    #[test]
    fn keywords_and_tags_become_the_same_key() {
        for key in ["PatientID", "00100020"] {
            assert_eq!(written(&[(key, "P1")]).unwrap(), "studies?PatientID=P1");
        }
        assert_eq!(
            written(&[
                ("limit", "101"),
                ("offset", "0"),
                ("fuzzymatching", "true"),
                ("includefield", "00081030,00080060"),
            ])
            .unwrap(),
            "studies?includefield=00080060&includefield=00081030&fuzzymatching=true&limit=101",
            "what OHIF asks"
        );
    }

    #[test]
    fn what_archives_would_ignore_is_refused() {
        for key in ["patientid", "NoSuchAttr", "00091001", "_id", "", "PatientID ", "limit\u{0}"] {
            assert!(matches!(written(&[(key, "x")]), Err(QueryError::UnknownKey(_))), "{key:?}");
        }
        let inside = written(&[("ProcedureCodeSequence.CodeValue", "x")]);
        assert!(matches!(inside, Err(QueryError::InsideSequence(_))));
    }

    #[test]
    fn an_alias_does_not_smuggle_a_second_value() {
        for twice in [
            [("PatientID", "P1"), ("PatientID", "P2")],
            [("PatientID", "P1"), ("00100020", "*")],
            [("limit", "1"), ("limit", "2")],
            [("PatientID", "P1"), ("00100020", "")],
        ] {
            assert!(matches!(written(&twice), Err(QueryError::Twice(_))), "{twice:?}");
        }
    }

    #[test]
    fn numbers_and_flags_are_literal() {
        for (key, value) in [
            ("limit", "0"),
            ("limit", "-1"),
            ("limit", "+1"),
            ("limit", "50001"),
            ("limit", "a"),
            ("limit", ""),
            ("offset", "-1"),
            ("offset", "1000001"),
            ("fuzzymatching", "True"),
            ("fuzzymatching", ""),
            ("includefield", "x"),
            ("includefield", ""),
            ("charset", "latin1"),
            ("accept", "a\r\nb"),
            ("PatientID", "a\u{0}"),
            ("PatientID", "a\r\nX: y"),
        ] {
            assert!(matches!(written(&[(key, value)]), Err(QueryError::Value { .. })), "{key}={value:?}");
        }
    }

    #[test]
    fn an_empty_key_asks_for_the_attribute() {
        assert_eq!(written(&[("StudyDescription", "")]).unwrap(), "studies?includefield=00081030");
    }

    #[test]
    fn only_what_is_rendered_takes_parameters() {
        let window = pairs(&[("window", "40,400,linear"), ("accept", "image/png")]);
        let (_, common) = retrieval(true, &window).unwrap();
        assert_eq!(common.accept.as_deref(), Some("image/png"));
        assert!(matches!(retrieval(false, &window), Err(QueryError::UnknownKey(_))));
        assert!(matches!(retrieval(true, &pairs(&[("token", "x")])), Err(QueryError::UnknownKey(_))));
        assert!(matches!(retrieval(true, &pairs(&[("quality", "0")])), Err(QueryError::Value { .. })));
        let twice = pairs(&[("quality", "1"), ("quality", "2")]);
        assert!(matches!(retrieval(true, &twice), Err(QueryError::Twice(_))));
    }

    proptest! {
        #[test]
        fn what_is_written_is_of_a_strict_grammar(
            query in prop::collection::vec(("PatientID|00100020|StudyDate|limit|offset|includefield|\\PC{0,8}", "\\PC{0,20}|[0-9]{1,4}|00100010"), 0..5),
        ) {
            let query: Vec<_> = query.into_iter().collect();
            if let Ok((query, _)) = search(SearchLevel::Studies, &query) {
                let text = query.canonical();
                let text = text.strip_prefix("studies?").unwrap();
                for pair in text.split('&').filter(|pair| !pair.is_empty()) {
                    let (key, value) = pair.split_once('=').unwrap();
                    prop_assert!(key.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{}", pair);
                    prop_assert!(
                        value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_~*?,:/@!$()%".contains(&byte)),
                        "{}", pair
                    );
                }
            }
        }
    }
}

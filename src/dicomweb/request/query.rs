//! Parses the query parameters of searches (PS3.18 8.3.4, 10.6.1.2), and those that all resources support (8.3.3).
//!
//! An archive that ignores an unknown key returns every patient. If an attribute occurs twice, or once as keyword and once as
//! tag, archives use only one of the values. Therefore a search may contain only attributes of PS3.6, without duplicates, and
//! unknown keys are rejected, although PS3.18 8.3.4 requires servers to ignore them.

use std::collections::BTreeSet;

use http::{HeaderMap, HeaderValue, header};

use dicom_core::VR;

use super::DicomwebRequest;
use super::match_value_form::{expected_form, in_supported_form};
use crate::http::query::printable_name;
use crate::upstream::{MatchValue, MatchingOption, QidoQuery, SearchLevel};
use dicom_model::{Tag, UidRule, tag};

/// Maximum number of rows of one response. It replaces a larger limit (PS3.18 8.3.4.4).
const MAX_ROWS: u32 = 50_000;

/// Maximum offset of a search.
const MAX_OFFSET: u32 = 1_000_000;

/// Maximum number of attributes in `includefield`. Clients that need more can request `includefield=all`.
const MAX_INCLUDED_FIELDS: usize = 256;

/// Maximum length of a value in bytes: the length of a list of 500 UIDs.
const MAX_VALUE_LEN: usize = 32 * 1024;

/// Maximum length of all values together that are not UIDs, in bytes. They are sent in one URL, in which each byte may need three.
const MAX_TEXT_LEN: usize = 4 * 1024;

/// Why a query is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The key is neither an attribute of PS3.6 nor a parameter of PS3.18.
    #[error(
        "\"{0}\" is neither an attribute of DICOM PS3.6 nor a query parameter of PS3.18 that the gateway supports"
    )]
    UnknownKey(String),
    /// The key names an attribute inside a sequence.
    #[error(
        "\"{0}\": matching inside sequences is not supported, as archives ignore it and return everything"
    )]
    InsideSequence(String),
    /// The key occurs more than once, possibly as a keyword and as a tag.
    #[error("\"{0}\" is given more than once, as keyword or as tag")]
    Repeated(String),
    /// The key requires another key.
    #[error("\"{0}\" requires \"{1}\"")]
    RequiresOther(String, &'static str),
    /// A required key is missing.
    #[error("\"{0}\" is missing")]
    Missing(&'static str),
    /// The sealed query was not issued by this gateway for this URL.
    #[error(
        "\"sealed\" is not valid for this URL here: retrieve the metadata, which contains the current URL"
    )]
    Sealed,
    /// The client accepts only character sets other than UTF-8.
    #[error("the only charset is utf-8")]
    Charset,
    /// The value is not valid for the parameter.
    #[error("\"{key}\" must be {expected}")]
    Value {
        /// The parameter.
        key: String,
        /// The valid values.
        expected: &'static str,
    },
}

impl QueryError {
    /// Creates the error of a value that is not `expected`.
    pub(crate) fn invalid_value(key: &str, expected: &'static str) -> Self {
        Self::Value { key: printable_name(key), expected }
    }
}

/// The parameters that all resources support.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CommonParameters {
    /// The media types that replace the `Accept` header (PS3.18 8.3.3.1).
    pub accept: Option<String>,
}

impl CommonParameters {
    /// Returns the headers of the request, in which parameters of the query replace `Accept`.
    pub(crate) fn headers_of(&self, request: &DicomwebRequest<'_>) -> HeaderMap {
        let mut headers = request.headers.clone();
        if let Some(accept) = self.accept.as_ref().and_then(|accept| HeaderValue::from_str(accept).ok()) {
            headers.insert(header::ACCEPT, accept);
        }
        headers
    }

    /// Parses the value if `key` is one of these parameters. Returns whether it is.
    pub(super) fn parse(&mut self, key: &str, value: &str) -> Result<bool, QueryError> {
        match key {
            "accept" => {
                let is_printable = |byte: u8| matches!(byte, b' '..=b'~');
                if value.is_empty() || value.len() > 1024 || !value.bytes().all(is_printable) {
                    return Err(QueryError::invalid_value(key, "a list of media types"));
                }
                if self.accept.replace(restore_plus_signs(value)).is_some() {
                    return Err(QueryError::Repeated(key.to_owned()));
                }
                Ok(true)
            }
            // All texts that the gateway requests and returns are UTF-8.
            "charset" if value.split(',').any(accepts_utf_8) => Ok(true),
            "charset" => Err(QueryError::Charset),
            _ => Ok(false),
        }
    }
}

/// Restores `+` in media types. An unescaped `+` is decoded as a space, but the name of a media type contains no space.
fn restore_plus_signs(media_types: &str) -> String {
    let mut text = String::with_capacity(media_types.len());
    let mut rest = media_types.chars().peekable();
    while let Some(character) = rest.next() {
        let is_in_name = text.ends_with(|last: char| last.is_ascii_alphanumeric())
            && rest.peek().is_some_and(char::is_ascii_alphanumeric);
        text.push(if character == ' ' && is_in_name { '+' } else { character });
    }
    text
}

/// Whether one item of a list of character sets accepts UTF-8 (RFC 9110 12.5.2).
fn accepts_utf_8(item: &str) -> bool {
    let (name, parameter) = item.split_once(';').unwrap_or((item, "q=1"));
    let weight = parameter.trim().strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
    let name = name.trim();
    (name == "*" || name.eq_ignore_ascii_case("utf-8")) && weight.is_some_and(|weight| weight > 0.0)
}

/// The parameters of a search.
#[derive(Debug)]
pub(crate) struct SearchParameters {
    pub(crate) query: QidoQuery,
    pub(crate) common: CommonParameters,
    /// Whether the requested limit exceeds [`MAX_ROWS`], which replaces it.
    pub(crate) is_limit_reduced: bool,
}

/// Parses the decoded query of a search at `level`, in archives with `uid_rule`.
pub(crate) fn parse_search(
    level: SearchLevel,
    pairs: &[(String, String)],
    uid_rule: UidRule,
) -> Result<SearchParameters, QueryError> {
    let mut query = QidoQuery::new(level);
    let mut common = CommonParameters::default();
    let mut is_limit_reduced = false;
    let is_option_set = |option| pairs.iter().any(|(key, value)| key == option && value == "true");
    let allows_value_lists = is_option_set("multiplevaluematching");
    let allows_empty_value = is_option_set("emptyvaluematching");
    let mut included_tags = BTreeSet::new();
    let (mut keys, mut text_len) = (BTreeSet::new(), 0);
    for (key, value) in pairs {
        if common.parse(key, value)? {
            continue;
        }
        if key == "includefield" {
            for field in value.split(',') {
                if field == "all" {
                    query = query.include_all();
                } else {
                    included_tags.insert(parse_field(field)?);
                }
            }
            if included_tags.len() > MAX_INCLUDED_FIELDS {
                return Err(QueryError::invalid_value(key, "at most 256 attributes, or \"all\""));
            }
            continue;
        }
        let search_key = SearchKey::parse(key)?;
        if !keys.insert(search_key) {
            return Err(QueryError::Repeated(printable_name(key)));
        }
        query = match search_key {
            SearchKey::Limit => {
                let is_decimal = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
                if !is_decimal {
                    return Err(QueryError::invalid_value(key, "a number of rows"));
                }
                // A number that does not fit 32 bits exceeds the maximum too.
                let limit: u32 = value.parse().unwrap_or(u32::MAX);
                is_limit_reduced = limit > MAX_ROWS;
                query.limit(limit.min(MAX_ROWS))
            }
            SearchKey::Offset => {
                query.offset(parse_number(key, value, 0, MAX_OFFSET, "a number from 0 to 1000000")?)
            }
            SearchKey::Option(option) => match value.as_str() {
                "true" => query.option(option, true),
                "false" => query.option(option, false),
                _ => return Err(QueryError::invalid_value(key, "\"true\" or \"false\"")),
            },
            // A key without a value matches everything and requests the attribute (PS3.4 C.2.2.2.3). It is sent as
            // `includefield`, because some archives match only empty values by such a key.
            SearchKey::Attribute(tag) if value.is_empty() => {
                included_tags.insert(tag);
                query
            }
            SearchKey::Attribute(_) if value.len() > MAX_VALUE_LEN || value.chars().any(char::is_control) => {
                return Err(QueryError::invalid_value(key, "text without control characters, at most 32 kB"));
            }
            SearchKey::Attribute(tag)
                if let Some(expected) = expected_form(tag, value, allows_empty_value, uid_rule) =>
            {
                return Err(QueryError::invalid_value(key, expected));
            }
            SearchKey::Attribute(tag) if tag::value_representation(tag) == Some(VR::UI) => {
                query.matching(tag, MatchValue::raw(&in_supported_form(tag, value)))
            }
            // A backslash separates values, so no single value contains one, and archives would return an empty list.
            SearchKey::Attribute(_) if value.contains('\\') && !allows_value_lists => {
                return Err(QueryError::invalid_value(
                    key,
                    "one value without a backslash; search for the values one by one, or with multiplevaluematching=true if the archive supports it",
                ));
            }
            SearchKey::Attribute(tag) => {
                text_len += value.len();
                if text_len > MAX_TEXT_LEN {
                    let expected = "at most 4 kB, together with all other values that are not UIDs";
                    return Err(QueryError::invalid_value(key, expected));
                }
                query.matching(tag, MatchValue::raw(&in_supported_form(tag, value)))
            }
        };
    }
    let included_tags: Vec<Tag> = included_tags.into_iter().collect();
    Ok(SearchParameters { query: query.include(&included_tags), common, is_limit_reduced })
}

/// A key of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum SearchKey {
    Limit,
    Offset,
    Option(MatchingOption),
    Attribute(Tag),
}

impl SearchKey {
    fn parse(key: &str) -> Result<Self, QueryError> {
        match key {
            "limit" => Ok(Self::Limit),
            "offset" => Ok(Self::Offset),
            "fuzzymatching" => Ok(Self::Option(MatchingOption::Fuzzy)),
            "emptyvaluematching" => Ok(Self::Option(MatchingOption::EmptyValue)),
            "multiplevaluematching" => Ok(Self::Option(MatchingOption::MultipleValue)),
            _ => match tag::parse(key) {
                Some(tag) if tag::keyword(tag).is_some() => Ok(Self::Attribute(tag)),
                None if key.split_once('.').is_some_and(|(sequence, _)| tag::parse(sequence).is_some()) => {
                    Err(QueryError::InsideSequence(printable_name(key)))
                }
                _ => Err(QueryError::UnknownKey(printable_name(key))),
            },
        }
    }
}

/// Parses an item of `includefield`. An attribute in a sequence is replaced by the whole sequence.
fn parse_field(field: &str) -> Result<Tag, QueryError> {
    let root_attribute = field.split('.').next().unwrap_or_default();
    tag::parse(root_attribute).ok_or_else(|| {
        QueryError::invalid_value("includefield", "keywords or tags of attributes, or \"all\"")
    })
}

fn parse_number(
    key: &str,
    value: &str,
    min: u32,
    max: u32,
    expected: &'static str,
) -> Result<u32, QueryError> {
    let is_decimal = value.bytes().all(|byte| byte.is_ascii_digit());
    let number = value.parse().ok().filter(|number| is_decimal && (min..=max).contains(number));
    number.ok_or_else(|| QueryError::invalid_value(key, expected))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(query: &[(&str, &str)]) -> Vec<(String, String)> {
        query.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn canonical(query: &[(&str, &str)]) -> Result<String, QueryError> {
        let search = parse_search(SearchLevel::Studies, &pairs(query), UidRule::Strict);
        search.map(|search| search.query.canonical())
    }

    #[test]
    fn keywords_and_tags_are_the_same_key() {
        for key in ["PatientID", "00100020"] {
            assert_eq!(canonical(&[(key, "P1")]).unwrap(), "studies?PatientID=P1");
        }
        assert_eq!(
            canonical(&[
                ("limit", "101"),
                ("offset", "0"),
                ("fuzzymatching", "true"),
                ("includefield", "00081030,00080060"),
            ])
            .unwrap(),
            "studies?includefield=00080060&includefield=00081030&fuzzymatching=true&limit=101",
            "the query of OHIF"
        );
    }

    #[test]
    fn keys_that_archives_would_ignore_are_rejected() {
        for key in ["patientid", "NoSuchAttr", "00091001", "_id", "", "PatientID ", "limit\u{0}"] {
            assert!(matches!(canonical(&[(key, "x")]), Err(QueryError::UnknownKey(_))), "{key:?}");
        }
        let nested = canonical(&[("ProcedureCodeSequence.CodeValue", "x")]);
        assert!(matches!(nested, Err(QueryError::InsideSequence(_))));
    }

    #[test]
    fn a_second_value_under_an_alias_is_rejected() {
        for query in [
            [("PatientID", "P1"), ("PatientID", "P2")],
            [("PatientID", "P1"), ("00100020", "*")],
            [("limit", "1"), ("limit", "2")],
            [("PatientID", "P1"), ("00100020", "")],
        ] {
            assert!(matches!(canonical(&query), Err(QueryError::Repeated(_))), "{query:?}");
        }
    }

    #[test]
    fn invalid_values_are_rejected() {
        for (key, value) in [
            ("limit", "-1"),
            ("limit", "+1"),
            ("limit", "1.5"),
            ("limit", "a"),
            ("limit", ""),
            ("offset", "-1"),
            ("offset", "1000001"),
            ("fuzzymatching", "True"),
            ("fuzzymatching", ""),
            ("includefield", "x"),
            ("includefield", ""),
            ("accept", "a\r\nb"),
            ("ModalitiesInStudy", "CT\\MR"),
            ("PatientName", "Doe\\Roe"),
            ("StudyDate", "20240101\\20240102"),
            ("StudyDate", "2024-01-01"),
            ("00080020", "20241301"),
            ("StudyTime", "foo"),
            ("StudyInstanceUID", "1.2.x"),
            ("PatientID", "a\u{0}"),
            ("PatientID", "a\r\nX: y"),
        ] {
            assert!(matches!(canonical(&[(key, value)]), Err(QueryError::Value { .. })), "{key}={value:?}");
        }
    }

    #[test]
    fn a_limit_above_the_maximum_is_reduced_to_it() {
        for (limit, sent, is_limit_reduced) in [
            ("0", "0", false),
            ("050000", "50000", false),
            ("50001", "50000", true),
            ("4294967296", "50000", true),
            ("99999999999999999999999", "50000", true),
        ] {
            let search =
                parse_search(SearchLevel::Studies, &pairs(&[("limit", limit)]), UidRule::Strict).unwrap();
            assert_eq!(search.query.canonical(), format!("studies?limit={sent}"));
            assert_eq!(search.is_limit_reduced, is_limit_reduced, "{limit}");
        }
    }

    #[test]
    fn spaces_around_uids_and_dates_are_not_sent() {
        let padded = [("StudyInstanceUID", "1.2, 1.3 "), ("StudyDate", " 20240131 ")];
        assert_eq!(canonical(&padded).unwrap(), "studies?StudyInstanceUID=1.2,1.3&StudyDate=20240131");
        let times = [("StudyTime", "10 \\ 1015-"), ("multiplevaluematching", "true")];
        assert!(canonical(&times).unwrap().contains("StudyTime=10%5C1015-"));
        assert_eq!(canonical(&[("PatientID", " P1 ")]).unwrap(), "studies?PatientID=%20P1%20");
    }

    #[test]
    fn a_list_of_uids_is_sent_with_commas() {
        for (keyword, tag) in [("StudyInstanceUID", "0020000D"), ("SOPClassUID", "00080016")] {
            let expected = format!("studies?{keyword}=1.2,1.3,1.4");
            assert_eq!(canonical(&[(tag, "1.2\\1.3,1.4")]).unwrap(), expected);
        }
        let modalities = [("ModalitiesInStudy", "CT\\MR"), ("multiplevaluematching", "true")];
        assert!(canonical(&modalities).unwrap().contains("ModalitiesInStudy=CT%5CMR"));
    }

    #[test]
    fn only_utf_8_is_available() {
        for charset in ["utf-8", "UTF-8", "iso-8859-1;q=0.5, utf-8", "*", "utf-8;q=0.1"] {
            assert_eq!(canonical(&[("charset", charset)]).unwrap(), "studies?", "{charset}");
        }
        for charset in ["", "latin1", "iso-8859-1, utf-16", "utf-8;q=0"] {
            assert_eq!(canonical(&[("charset", charset)]), Err(QueryError::Charset), "{charset}");
        }
    }

    #[test]
    fn a_space_in_a_media_type_is_a_plus_sign() {
        for (text, expected) in [
            ("application/dicom json", "application/dicom+json"),
            ("application/dicom+json", "application/dicom+json"),
            (
                "multipart/related; type=\"application/dicom xml\" ; q=0.5",
                "multipart/related; type=\"application/dicom+xml\" ; q=0.5",
            ),
            ("image/png , image/svg xml; q=0.5, */*", "image/png , image/svg+xml; q=0.5, */*"),
        ] {
            assert_eq!(restore_plus_signs(text), expected);
        }
    }

    #[test]
    fn a_key_without_a_value_requests_the_attribute() {
        assert_eq!(canonical(&[("StudyDescription", "")]).unwrap(), "studies?includefield=00081030");
    }

    proptest! {
        #[test]
        fn the_query_to_the_archive_follows_a_strict_grammar(
            query in prop::collection::vec(("PatientID|00100020|StudyDate|limit|offset|includefield|\\PC{0,8}", "\\PC{0,20}|[0-9]{1,4}|00100010"), 0..5),
        ) {
            let query: Vec<_> = query.into_iter().collect();
            if let Ok(search) = parse_search(SearchLevel::Studies, &query, UidRule::Lenient) {
                let text = search.query.canonical();
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

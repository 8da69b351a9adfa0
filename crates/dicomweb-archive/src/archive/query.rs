//! Parses the query of a search transaction (PS3.18 8.3.4 and 10.6.1.2). Unknown keys are rejected. This module does not evaluate
//! the query.

use super::matching::{Condition, ConditionError};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use dicom_model::tag;
use percent_encoding::percent_decode_str;

/// A parsed search query.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Query {
    /// The conditions, which results must all meet.
    pub matches: Vec<Match>,
    /// The attributes that are requested in addition to the default ones.
    pub include: Vec<Tag>,
    /// Whether all attributes are requested.
    pub include_all: bool,
    /// Maximum number of results.
    pub limit: Option<usize>,
    /// Number of results to skip.
    pub offset: usize,
    /// Whether the client requested fuzzy matching of names, which this archive does not support.
    pub is_fuzzy: bool,
    /// The `accept` query parameter (PS3.18 8.3.3.1), which overrides the header field.
    pub accept: Option<String>,
}

/// A condition on an attribute, possibly in a sequence.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Match {
    /// The path: the outer sequence, the nested sequence, …, the attribute.
    pub path: Vec<Tag>,
    /// The condition.
    pub condition: Condition,
}

/// Why a query is rejected. Never contains values, which may be PHI.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum QueryError {
    /// The percent-encoding is incomplete or not UTF-8.
    #[error("the query is not percent-encoded UTF-8")]
    Encoding,
    /// A key is neither a parameter nor an attribute.
    #[error("a key of the query is neither a parameter nor an attribute (PS3.18 8.3.4)")]
    UnknownKey,
    /// `includefield` contains an unknown attribute.
    #[error("includefield: an attribute in the list is unknown")]
    UnknownField,
    /// `limit` or `offset` is not a number.
    #[error("{0}: expected a non-negative integer")]
    Count(&'static str),
    /// `fuzzymatching` is neither true nor false.
    #[error("fuzzymatching: expected true or false")]
    Fuzzy,
    /// A key occurs more than once.
    #[error("{0}: occurs more than once")]
    Repeated(String),
    /// A value cannot be matched.
    #[error("{0}: {1}")]
    Value(String, ConditionError),
}

impl Query {
    /// Parses the query of a URL.
    pub(super) fn parse(raw: &str) -> Result<Self, QueryError> {
        let mut query = Self::default();
        for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (key, value) = (percent_decode(key)?, percent_decode(value)?);
            match key.as_str() {
                "limit" => query.limit = Some(value.parse().map_err(|_| QueryError::Count("limit"))?),
                "offset" => query.offset = value.parse().map_err(|_| QueryError::Count("offset"))?,
                "includefield" => query.include_fields(&value)?,
                "fuzzymatching" => {
                    query.is_fuzzy = match value.as_str() {
                        "true" => true,
                        "false" => false,
                        _ => return Err(QueryError::Fuzzy),
                    }
                }
                "accept" => query.accept = Some(value),
                _ => query.add_match(key, &value)?,
            }
        }
        Ok(query)
    }

    fn include_fields(&mut self, list: &str) -> Result<(), QueryError> {
        for field in list.split(',').map(str::trim).filter(|field| !field.is_empty()) {
            if field == "all" {
                self.include_all = true;
                continue;
            }
            // For a path to an attribute in a sequence, the whole sequence is returned.
            let attribute = field.split('.').next().and_then(tag::parse).ok_or(QueryError::UnknownField)?;
            if !self.include.contains(&attribute) {
                self.include.push(attribute);
            }
        }
        Ok(())
    }

    fn add_match(&mut self, key: String, value: &str) -> Result<(), QueryError> {
        let path: Option<Vec<Tag>> = key.split('.').map(tag::parse).collect();
        let Some(path) = path.filter(|path| !path.is_empty()) else {
            return Err(QueryError::UnknownKey);
        };
        let last = path[path.len() - 1];
        let vr =
            tag::value_representation(last).unwrap_or(if last.group() % 2 == 1 { VR::LO } else { VR::US });
        let condition = Condition::parse(vr, value).map_err(|error| QueryError::Value(key.clone(), error))?;
        match (self.matches.iter_mut().find(|existing| existing.path == path), condition) {
            (None, condition) => self.matches.push(Match { path, condition }),
            // A list of UIDs can also be a repeated key.
            (Some(Match { condition: Condition::OneOf(uids), .. }), Condition::OneOf(more_uids))
                if vr == VR::UI =>
            {
                uids.extend(more_uids);
            }
            _ => return Err(QueryError::Repeated(key)),
        }
        Ok(())
    }

    /// Whether the query contains only `accept`, or nothing, as required for every resource except a search.
    pub(super) fn has_only_accept(&self) -> bool {
        let Self { matches, include, include_all, limit, offset, is_fuzzy, accept: _ } = self;
        matches.is_empty()
            && include.is_empty()
            && !include_all
            && limit.is_none()
            && *offset == 0
            && !is_fuzzy
    }

    /// Returns the attributes that rows contain because of matching keys or `includefield` (PS3.18 10.6.3.3).
    pub(super) fn attributes(&self) -> impl Iterator<Item = Tag> + '_ {
        self.matches
            .iter()
            .filter_map(|condition| condition.path.first().copied())
            .chain(self.include.iter().copied())
    }

    /// Whether the query contains this attribute as a matching key or in `includefield`.
    pub(super) fn contains(&self, attribute: Tag) -> bool {
        self.attributes().any(|tag| tag == attribute)
    }
}

/// Whether the attribute is computed, for example from lower levels.
pub(super) fn is_computed(tag: Tag) -> bool {
    matches!(
        tag,
        tags::MODALITIES_IN_STUDY
            | tags::SOP_CLASSES_IN_STUDY
            | tags::NUMBER_OF_STUDY_RELATED_SERIES
            | tags::NUMBER_OF_STUDY_RELATED_INSTANCES
            | tags::NUMBER_OF_SERIES_RELATED_INSTANCES
            | tags::INSTANCE_AVAILABILITY
            | tags::AVAILABLE_TRANSFER_SYNTAX_UID
            | tags::RETRIEVE_URL
    )
}

fn percent_decode(text: &str) -> Result<String, QueryError> {
    let text = text.replace('+', " ");
    let bytes = text.as_bytes();
    let is_complete = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%').all(|(index, _)| {
        bytes.get(index + 1..index + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    if !is_complete {
        return Err(QueryError::Encoding);
    }
    percent_decode_str(&text).decode_utf8().map(Into::into).map_err(|_| QueryError::Encoding)
}

#[cfg(test)]
mod tests;

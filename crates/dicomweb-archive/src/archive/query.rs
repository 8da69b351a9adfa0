//! The query of a search transaction (PS3.18 8.3.4 and 10.6.1.2), parsed into what is meant. Every key is understood
//! or refused.

use super::matching::{Condition, ConditionError};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use dicom_model::tag;
use percent_encoding::percent_decode_str;

/// A search, read.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Query {
    /// All of these must hold.
    pub matches: Vec<Match>,
    /// Attributes asked for beyond the usual ones.
    pub include: Vec<Tag>,
    /// Whether every attribute is asked for.
    pub include_all: bool,
    /// At most so many results.
    pub limit: Option<usize>,
    /// So many results are left out first.
    pub offset: usize,
    /// Whether the client asked for fuzzy matching of names, which this archive does not do.
    pub fuzzy: bool,
    /// The `accept` query parameter (PS3.18 8.3.3.1), which overrides the header field.
    pub accept: Option<String>,
}

/// A condition on an attribute, perhaps inside a sequence.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Match {
    /// The sequence to look in, the sequence in that, …, the attribute.
    pub path: Vec<Tag>,
    /// What it must be like.
    pub condition: Condition,
}

/// Why a query is refused. Values are left out: they may name a patient.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum QueryError {
    /// Percent-escapes that are cut short or are no UTF-8.
    #[error("the query is not percent-encoded UTF-8")]
    Encoding,
    /// A key that is neither a parameter nor an attribute.
    #[error("{0}: no such parameter and no such attribute (PS3.18 8.3.4)")]
    UnknownKey(String),
    /// An attribute in `includefield` that does not exist.
    #[error("includefield: an attribute in the list is unknown")]
    UnknownField,
    /// `limit` or `offset` that is no number.
    #[error("{0}: must be a whole number from 0")]
    Count(&'static str),
    /// `fuzzymatching` that is neither true nor false.
    #[error("fuzzymatching: must be true or false")]
    Fuzzy,
    /// The same key twice.
    #[error("{0}: given more than once")]
    Repeated(String),
    /// A value that cannot be matched.
    #[error("{0}: {1}")]
    Value(String, ConditionError),
}

impl Query {
    /// Reads the query part of a URL.
    pub(super) fn parse(raw: &str) -> Result<Self, QueryError> {
        let mut query = Self::default();
        for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (key, value) = (decoded(key)?, decoded(value)?);
            match key.as_str() {
                "limit" => query.limit = Some(value.parse().map_err(|_| QueryError::Count("limit"))?),
                "offset" => query.offset = value.parse().map_err(|_| QueryError::Count("offset"))?,
                "includefield" => query.include_fields(&value)?,
                "fuzzymatching" => {
                    query.fuzzy = match value.as_str() {
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
            // Of a path into a sequence the whole sequence is answered.
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
            return Err(QueryError::UnknownKey(key));
        };
        let last = path[path.len() - 1];
        let vr =
            tag::value_representation(last).unwrap_or(if last.group() % 2 == 1 { VR::LO } else { VR::US });
        let condition = Condition::parse(vr, value).map_err(|error| QueryError::Value(key.clone(), error))?;
        match (self.matches.iter_mut().find(|earlier| earlier.path == path), condition) {
            (None, condition) => self.matches.push(Match { path, condition }),
            // A list of UIDs may also be spelt as a repeated key.
            (Some(Match { condition: Condition::OneOf(uids), .. }), Condition::OneOf(more))
                if vr == VR::UI =>
            {
                uids.extend(more);
            }
            _ => return Err(QueryError::Repeated(key)),
        }
        Ok(())
    }

    /// Whether nothing but a media type is asked for, as every resource but a search must be.
    pub(super) fn is_plain(&self) -> bool {
        let Self { matches, include, include_all, limit, offset, fuzzy, accept: _ } = self;
        matches.is_empty() && include.is_empty() && !include_all && limit.is_none() && *offset == 0 && !fuzzy
    }

    /// The attributes named by matching keys, which are answered as well (PS3.18 10.6.3.3).
    pub(super) fn named(&self) -> impl Iterator<Item = Tag> + '_ {
        self.matches.iter().filter_map(|one| one.path.first().copied()).chain(self.include.iter().copied())
    }

    /// Whether the query names this attribute for matching or for the answer.
    pub(super) fn names(&self, wanted: Tag) -> bool {
        self.named().any(|tag| tag == wanted)
    }
}

/// Attributes that are counted or put together from what lies below.
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

fn decoded(text: &str) -> Result<String, QueryError> {
    let text = text.replace('+', " ");
    let bytes = text.as_bytes();
    let whole = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%').all(|(at, _)| {
        bytes.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    if !whole {
        return Err(QueryError::Encoding);
    }
    percent_decode_str(&text).decode_utf8().map(Into::into).map_err(|_| QueryError::Encoding)
}

#[cfg(test)]
mod tests;

//! Attribute matching (PS3.4 C.2.2.2): single value, list of UID, universal, wildcard and range matching. A condition is parsed
//! according to the value representation of its attribute. A value that cannot be matched is rejected, never ignored. This module
//! does not know about levels.

use dicom_core::VR;
use dicom_model::data_set::{DataElement, DataValue};

/// A condition on an attribute.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Condition {
    /// Matches every value, and a missing value: the client only requests the attribute (PS3.4 C.2.2.2.3).
    Universal,
    /// Matches values that are equal to one of these.
    OneOf(Vec<Box<str>>),
    /// Matches texts, with the wildcards `*` and `?`.
    Text(Pattern),
    /// Matches person names, case-insensitively, in any of their component groups.
    Name(Pattern),
    /// Matches dates, times or date-times in a range of digit strings. The range includes both ends; a missing end is open.
    Between(Option<Box<str>>, Option<Box<str>>),
    /// Matches numbers, in any notation.
    Number(f64),
}

/// Why a value cannot be matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ConditionError {
    /// The attribute is binary data or a sequence.
    #[error("attributes of this value representation cannot be matched (PS3.4 C.2.2.2)")]
    Representation,
    /// The value is not a UID.
    #[error("expected a UID or a list of UIDs")]
    Uid,
    /// The value is not a date, a time, or a range.
    #[error("expected a DICOM date or time (YYYYMMDD, HHMMSS) or a range A-B, A- or -B")]
    DateOrTime,
    /// The value is not a number.
    #[error("expected a number")]
    Number,
}

impl Condition {
    /// Parses the value of a query key for an attribute with value representation `vr`.
    pub(super) fn parse(vr: VR, value: &str) -> Result<Self, ConditionError> {
        if value.is_empty() {
            return Ok(Self::Universal);
        }
        match vr {
            VR::UI => parse_uids(value),
            VR::DA => parse_range(value, date_interval),
            VR::TM => parse_range(value, time_interval),
            VR::DT => parse_range(value, date_time_interval),
            VR::IS | VR::DS | VR::US | VR::SS | VR::UL | VR::SL | VR::UV | VR::SV | VR::FL | VR::FD => {
                value.trim().parse().map(Self::Number).map_err(|_| ConditionError::Number)
            }
            VR::PN => Ok(Self::Name(Pattern::new(&value.to_lowercase()))),
            // Code strings contain no commas or backslashes, so these are separators. PS3.4 C.2.2.2.2 defines lists
            // only for UIDs, but viewers also send them for ModalitiesInStudy.
            VR::CS if value.contains([',', '\\']) => {
                Ok(Self::OneOf(value.split([',', '\\']).map(|value| value.trim().into()).collect()))
            }
            VR::AE | VR::AS | VR::CS | VR::LO | VR::LT | VR::SH | VR::ST | VR::UC | VR::UR | VR::UT => {
                Ok(if value.chars().all(|character| character == '*') {
                    Self::Universal
                } else {
                    Self::Text(Pattern::new(value))
                })
            }
            _ => Err(ConditionError::Representation),
        }
    }

    /// Whether an element, or its absence, meets the condition. One matching value is sufficient.
    pub(super) fn accepts(&self, element: Option<&DataElement>) -> bool {
        if *self == Self::Universal {
            return true;
        }
        let Some(element) = element else { return false };
        match &element.value {
            DataValue::Text(values) => values.iter().any(|value| self.accepts_text(element.vr, value)),
            DataValue::Binary(bytes) => {
                matches!(self, Self::Number(expected) if numbers(element.vr, bytes).contains(expected))
            }
            DataValue::Items(_) | DataValue::Bulk(_) => false,
        }
    }

    fn accepts_text(&self, vr: VR, value: &str) -> bool {
        match self {
            Self::Universal => true,
            Self::OneOf(expected) => expected.iter().any(|expected_value| **expected_value == *value),
            Self::Text(pattern) => pattern.accepts(value),
            Self::Name(pattern) => matches_name(pattern, value),
            Self::Number(expected) => {
                value.parse().is_ok_and(|number: f64| number.total_cmp(expected).is_eq())
            }
            Self::Between(from, to) => {
                let Some((earliest, latest)) = (match vr {
                    VR::DA => date_interval(value),
                    VR::TM => time_interval(value),
                    _ => date_time_interval(value),
                }) else {
                    return false;
                };
                from.as_ref().is_none_or(|from| **from <= *latest)
                    && to.as_ref().is_none_or(|to| *earliest <= **to)
            }
        }
    }
}

/// A text with wildcards: `*` for any number of characters, `?` for one (PS3.4 C.2.2.2.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(Box<[char]>);

impl Pattern {
    /// Creates a pattern from `text`.
    pub(super) fn new(text: &str) -> Self {
        Self(text.chars().collect())
    }

    /// Whether the pattern matches all of `text`. The worst-case time is proportional to the product of the lengths.
    pub(super) fn accepts(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let (mut pattern_position, mut text_position) = (0, 0);
        // The positions at which matching continues if the last star must match one more character.
        let mut retry: Option<(usize, usize)> = None;
        while text_position < text.len() {
            match self.0.get(pattern_position) {
                Some('*') => {
                    retry = Some((pattern_position + 1, text_position));
                    pattern_position += 1;
                }
                Some(expected) if *expected == '?' || *expected == text[text_position] => {
                    pattern_position += 1;
                    text_position += 1;
                }
                _ => {
                    let Some((after_star, matched_to)) = retry else { return false };
                    retry = Some((after_star, matched_to + 1));
                    pattern_position = after_star;
                    text_position = matched_to + 1;
                }
            }
        }
        self.0[pattern_position..].iter().all(|character| *character == '*')
    }
}

/// Matches the whole name or one of its groups, with or without trailing empty components (PS3.5 6.2.1.1).
fn matches_name(pattern: &Pattern, value: &str) -> bool {
    let value = value.to_lowercase();
    std::iter::once(value.as_str())
        .chain(value.split('=').filter(|group| !group.is_empty()))
        .any(|name| pattern.accepts(name) || pattern.accepts(name.trim_end_matches('^')))
}

fn parse_uids(value: &str) -> Result<Condition, ConditionError> {
    let uids = value.split([',', '\\']).map(|uid| dicom_model::Uid::parse(uid).map(|_| uid.into()));
    uids.collect::<Result<_, _>>().map(Condition::OneOf).map_err(|_| ConditionError::Uid)
}

/// The first and the last instant that a date or time denotes at its precision, as digit strings.
type Interval = (Box<str>, Box<str>);

fn parse_range(
    value: &str,
    interval: impl Fn(&str) -> Option<Interval>,
) -> Result<Condition, ConditionError> {
    let interval = |text: &str| interval(text).ok_or(ConditionError::DateOrTime);
    Ok(match value.split_once('-') {
        None => {
            let (earliest, latest) = interval(value)?;
            Condition::Between(Some(earliest), Some(latest))
        }
        Some(("", "")) => return Err(ConditionError::DateOrTime),
        Some(("", to)) => Condition::Between(None, Some(interval(to)?.1)),
        Some((from, "")) => Condition::Between(Some(interval(from)?.0), None),
        Some((from, to)) => Condition::Between(Some(interval(from)?.0), Some(interval(to)?.1)),
    })
}

/// Returns the interval of a date, as eight digits. The ACR-NEMA format with dots is accepted too (PS3.5 6.2 note to DA).
fn date_interval(text: &str) -> Option<Interval> {
    let digits: String = if text.len() == 10 { text.replace('.', "") } else { text.to_owned() };
    dicom_model::DicomDate::parse(&digits)?;
    Some((digits.as_str().into(), digits.into()))
}

/// Returns the interval of a time, in microseconds.
fn time_interval(text: &str) -> Option<Interval> {
    let text = text.replace(':', "");
    let (seconds_part, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let has_only_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !matches!(seconds_part.len(), 2 | 4 | 6)
        || fraction.len() > 6
        || !has_only_digits(seconds_part)
        || !has_only_digits(fraction)
    {
        return None;
    }
    let digits_text = format!("{seconds_part}{fraction}");
    let fill = |template: &str| {
        format!("{digits_text}{}", template.get(digits_text.len()..).unwrap_or_default()).into()
    };
    Some((fill("000000000000"), fill("235959999999")))
}

/// Returns the interval of a date-time, in microseconds. The offset from UTC is ignored.
fn date_time_interval(text: &str) -> Option<Interval> {
    let local = text.split(['+', '-']).next()?;
    let digits: String = local.chars().filter(|character| *character != '.').collect();
    if digits.len() < 4 || digits.len() > 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fill =
        |template: &str| format!("{digits}{}", template.get(digits.len()..).unwrap_or_default()).into();
    Some((fill("00000101000000000000"), fill("99991231235959999999")))
}

fn numbers(vr: VR, bytes: &[u8]) -> Vec<f64> {
    match vr {
        VR::US => words(bytes, |word| u16::from_le_bytes(word).into()),
        VR::SS => words(bytes, |word| i16::from_le_bytes(word).into()),
        VR::UL => words(bytes, |word| u32::from_le_bytes(word).into()),
        VR::SL => words(bytes, |word| i32::from_le_bytes(word).into()),
        VR::FL => words(bytes, |word| f32::from_le_bytes(word).into()),
        VR::FD => words(bytes, f64::from_le_bytes),
        _ => Vec::new(),
    }
}

fn words<const SIZE: usize>(bytes: &[u8], number: impl Fn([u8; SIZE]) -> f64) -> Vec<f64> {
    bytes.as_chunks().0.iter().copied().map(number).collect()
}

#[cfg(test)]
mod tests;

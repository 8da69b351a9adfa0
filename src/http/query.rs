//! Query strings and form bodies (application/x-www-form-urlencoded) as pairs, decoded once and strictly.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// A query string longer than this is none that we answer: a URI is 8 KiB at most.
const LONGEST: usize = 64 * 1024;

/// What is wrong with a query string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// A `%` is not followed by two hexadecimal digits.
    #[error("a percent sign is followed by two hexadecimal digits")]
    Escape,
    /// What the escapes stand for is no UTF-8.
    #[error("escapes stand for UTF-8")]
    Utf8,
    /// It holds a NUL or another control character.
    #[error("there are no control characters in it")]
    Control,
    /// It is too long.
    #[error("it is at most {LONGEST} bytes long")]
    TooLong,
}

/// An error, and the name of the parameter that it stands in, where that could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadPair {
    /// The parameter's name.
    pub name: Option<String>,
    /// What is wrong.
    pub error: QueryError,
}

/// The pairs of `text` in their order. `+` is a blank; a name without `=` has an empty value; `&&` says nothing.
///
/// ```
/// use dicomweb_gateway::http::query::decode;
/// assert_eq!(decode("a=1+2&b=%C3%A4").unwrap(), [("a".into(), "1 2".into()), ("b".into(), "ä".into())]);
/// assert!(decode("a=%zz").is_err());
/// ```
pub fn decode(text: &str) -> Result<Vec<(String, String)>, BadPair> {
    if text.len() > LONGEST {
        return Err(BadPair { name: None, error: QueryError::TooLong });
    }
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode_part(name).map_err(|error| BadPair { name: None, error })?;
            let value = decode_part(value).map_err(|error| BadPair { name: Some(name.clone()), error })?;
            Ok((name, value))
        })
        .collect()
}

fn decode_part(text: &str) -> Result<String, QueryError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
                let (high, low) = digit().zip(digit()).ok_or(QueryError::Escape)?;
                u8::try_from(high * 16 + low).map_err(|_| QueryError::Escape)?
            }
            byte => byte,
        });
    }
    let text = String::from_utf8(bytes).map_err(|_| QueryError::Utf8)?;
    if text.chars().any(char::is_control) { Err(QueryError::Control) } else { Ok(text) }
}

/// What need not be escaped in a value: what every reader takes for itself, and what makes FHIR searches readable.
const READABLE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':')
    .remove(b'/')
    .remove(b',');

/// The pairs as a query string, which [`decode`] reads back.
pub fn encode<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        if !text.is_empty() {
            text.push('&');
        }
        text.extend(utf8_percent_encode(name, READABLE));
        text.push('=');
        text.extend(utf8_percent_encode(value, READABLE));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_cannot_be_read_for_certain_is_refused_by_name() {
        let refused = |text: &str| decode(text).unwrap_err();
        let named = |error| BadPair { name: Some("name".to_owned()), error };
        assert_eq!(refused("a=1&name=%"), named(QueryError::Escape));
        assert_eq!(refused("name=%4"), named(QueryError::Escape));
        assert_eq!(refused("name=%+1"), named(QueryError::Escape));
        assert_eq!(refused("name=%ff"), named(QueryError::Utf8));
        assert_eq!(refused("name=%00"), named(QueryError::Control));
        assert_eq!(refused("name=%0d%0a"), named(QueryError::Control));
        assert_eq!(refused("%ff=1").name, None);
        assert_eq!(refused(&"a".repeat(70_000)).error, QueryError::TooLong);
    }

    #[test]
    fn values_are_decoded_once() {
        assert_eq!(decode("a=%2541").unwrap(), [("a".to_owned(), "%41".to_owned())]);
        assert_eq!(decode("a&b=&&c=1=2").unwrap().len(), 3);
        assert_eq!(decode("patient%3Aidentifier=x").unwrap()[0].0, "patient:identifier");
    }

    proptest! {
        #[test]
        fn what_is_encoded_reads_back(pairs in prop::collection::vec(("\\PC{1,12}", "\\PC{0,20}"), 0..5)) {
            let text = encode(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())));
            prop_assert!(text.is_ascii());
            prop_assert_eq!(decode(&text).unwrap(), pairs);
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,60}") {
            let _ = decode(&text);
        }
    }
}

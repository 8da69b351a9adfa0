//! Decodes and encodes query strings, and form bodies in the same format (WHATWG URL, application/x-www-form-urlencoded).
//! Ambiguous input is rejected.

use fhir_r4::search::parameter_expression;
pub use fhir_r4::search::printable_name;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Maximum number of parameters.
const MAX_PARAMETERS: usize = 1000;

/// The reason why a query string cannot be decoded. The messages contain the name of the parameter, never its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryStringError {
    /// A percent sign is not followed by two hexadecimal digits.
    #[error(
        "parameter \"{0}\" contains a percent sign that is not part of an escape; write a literal one as %25"
    )]
    Escape(String),
    /// The escapes are not valid UTF-8.
    #[error("parameter \"{0}\" is not UTF-8")]
    NotUtf8(String),
    /// A name or value contains a control character, such as NUL or a line break.
    #[error("parameter \"{0}\" contains a control character")]
    Control(String),
    /// The query has too many parameters.
    #[error("the query contains more than {MAX_PARAMETERS} parameters")]
    TooMany,
}

impl QueryStringError {
    /// Returns the name of the invalid parameter; `None` if the error does not concern one parameter, or if its name is not shown.
    pub fn parameter(&self) -> Option<&str> {
        match self {
            Self::Escape(name) | Self::NotUtf8(name) | Self::Control(name) => {
                Some(name.as_str()).filter(|name| parameter_expression(name).is_some())
            }
            Self::TooMany => None,
        }
    }
}

/// Decodes the names and values of `raw` in their order. A name without `=` has an empty value.
///
/// ```
/// use dicomweb_gateway::http::query::decode;
/// let pairs = decode("name=Doe%5EJane&_summary=&x")?;
/// assert_eq!(pairs[0], ("name".to_owned(), "Doe^Jane".to_owned()));
/// assert_eq!(pairs[2], ("x".to_owned(), String::new()));
/// # Ok::<(), dicomweb_gateway::http::query::QueryStringError>(())
/// ```
pub fn decode(raw: &str) -> Result<Vec<(String, String)>, QueryStringError> {
    let mut pairs = Vec::new();
    for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if pairs.len() == MAX_PARAMETERS {
            return Err(QueryStringError::TooMany);
        }
        pairs.push((decode_part(name, name)?, decode_part(name, value)?));
    }
    Ok(pairs)
}

fn decode_part(name: &str, text: &str) -> Result<String, QueryStringError> {
    let escapes = text.split('%').skip(1);
    let is_escape = |rest: &str| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    if !escapes.into_iter().all(is_escape) {
        return Err(QueryStringError::Escape(printable_name(name)));
    }
    let with_spaces = text.replace('+', " ");
    let decoded = percent_decode_str(&with_spaces)
        .decode_utf8()
        .map_err(|_| QueryStringError::NotUtf8(printable_name(name)))?;
    if decoded.chars().any(char::is_control) {
        return Err(QueryStringError::Control(printable_name(name)));
    }
    Ok(decoded.into_owned())
}

/// The characters to escape. Some characters that need no escape in a value are excluded, so that FHIR searches are readable.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':')
    .remove(b'/')
    .remove(b',');

/// Encodes the pairs as a query string, which [`decode`] decodes to the same pairs.
pub fn encode<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        if !text.is_empty() {
            text.push('&');
        }
        text.extend(utf8_percent_encode(name, ESCAPED));
        text.push('=');
        text.extend(utf8_percent_encode(value, ESCAPED));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode_one(raw: &str) -> Result<(String, String), QueryStringError> {
        decode(raw).map(|pairs| pairs.into_iter().next().unwrap())
    }

    #[test]
    fn escapes_and_pluses_are_decoded() {
        assert_eq!(decode_one("a%2Cb=%E5%B1%B1+x"), Ok(("a,b".to_owned(), "山 x".to_owned())));
        assert_eq!(decode_one("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(decode("&&"), Ok(vec![]));
    }

    #[test]
    fn an_ambiguous_query_is_rejected() {
        for raw in ["a=%", "a=%4", "a=%zz", "a=%%41", "a=%+1"] {
            assert_eq!(decode(raw), Err(QueryStringError::Escape("a".to_owned())), "{raw}");
        }
        assert_eq!(decode("a=%ff"), Err(QueryStringError::NotUtf8("a".to_owned())));
        for raw in ["a=%00", "a=x%0d%0aY:", "a=%7f"] {
            assert_eq!(decode(raw), Err(QueryStringError::Control("a".to_owned())), "{raw}");
        }
        assert_eq!(decode(&"a&".repeat(MAX_PARAMETERS + 1)), Err(QueryStringError::TooMany));
        assert_eq!(decode(&"a&".repeat(MAX_PARAMETERS)).map(|pairs| pairs.len()), Ok(MAX_PARAMETERS));
    }

    proptest! {
        #[test]
        fn an_encoded_pair_decodes_to_itself(name in "[^\\pC]{1,20}", value in "[^\\pC]{0,40}") {
            let encode = |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
            let raw = format!("{}={}", encode(&name), encode(&value));
            prop_assert_eq!(decode_one(&raw), Ok((name, value)));
        }

        #[test]
        fn the_decoder_never_panics_or_writes_more_than_it_reads(
            raw in "\\PC{0,60}|[%&=+0-9a-fA-F]{0,60}|(%|&|=|%4|%41|\u{e4}){1,3}", times in 1_usize..3000,
        ) {
            let raw = raw.repeat(times);
            if let Ok(pairs) = decode(&raw) {
                prop_assert!(pairs.len() <= MAX_PARAMETERS);
                prop_assert!(pairs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() <= raw.len());
            }
        }
    }
}

//! Numbers in rendering parameters. They must not contain a plus sign, because they are also sent to archives in URLs, where it
//! can mean a space.

/// Maximum length of a number in characters.
const MAX_NUMBER_LEN: usize = 24;

/// Parses a finite decimal number without a plus sign.
pub(super) fn parse_decimal(text: &str) -> Option<f64> {
    let is_allowed = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'e' | b'E');
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
    number.filter(|_| text.len() <= MAX_NUMBER_LEN && text.bytes().all(is_allowed))
}

//! Percent-encoding in paths (RFC 3986 2.3 and 6.2.2.2): a path with an encoded character that has the same meaning unencoded is
//! equivalent to the path with the character. This module does not know which paths a server has.

use std::borrow::Cow;

/// Decodes the escapes of unreserved characters (RFC 3986 2.3) and of characters that have no special meaning in a path: `!`, `$`,
/// `&`, `'`, `(`, `)`, `*`, `+`, `,`, `:`, `=`, `@` (3.3). Each escape is decoded once. Other escapes are not decoded, so that the
/// caller can reject them: those of a slash, a backslash, a semicolon, a percent sign, a control character or a byte above ASCII.
///
/// ```
/// use http_messages::path::decode_safe_escapes;
/// assert_eq!(decode_safe_escapes("/Patient/1/%24everything"), "/Patient/1/$everything");
/// assert_eq!(decode_safe_escapes("/a%2Fb%2524"), "/a%2Fb%2524");
/// ```
pub fn decode_safe_escapes(path: &str) -> Cow<'_, str> {
    let Some((unescaped, mut rest)) = path.split_once('%') else { return Cow::Borrowed(path) };
    let mut decoded = String::with_capacity(path.len());
    decoded.push_str(unescaped);
    loop {
        match decode_escape(rest) {
            Some((character, after)) => {
                decoded.push(character);
                rest = after;
            }
            None => decoded.push('%'),
        }
        let Some((unescaped, after)) = rest.split_once('%') else { break };
        decoded.push_str(unescaped);
        rest = after;
    }
    decoded.push_str(rest);
    Cow::Owned(decoded)
}

/// Returns the character of the escape whose digits are at the start of `rest`, and the text after the escape; `None` if it must not
/// be decoded.
fn decode_escape(rest: &str) -> Option<(char, &str)> {
    let (digits, after) = rest.split_at_checked(2)?;
    let is_escape = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let byte = is_escape.then(|| u8::from_str_radix(digits, 16).ok()).flatten()?;
    let is_safe = byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,:=@".contains(&byte);
    is_safe.then_some((char::from(byte), after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_of_characters_without_another_meaning_are_decoded_once() {
        for (path, decoded) in [
            ("/fhir/Patient/a/%24everything", "/fhir/Patient/a/$everything"),
            ("/fhir/ImagingStudy/_%73earch", "/fhir/ImagingStudy/_search"),
            ("%66hir/1%2E2%2e840", "fhir/1.2.840"),
            ("frames/1%2C2%2c3", "frames/1,2,3"),
            ("%2A%3a%40%7E%5f%2d", "*:@~_-"),
            ("/%2e%2e/%2E", "/../."),
            ("plain", "plain"),
            ("", ""),
        ] {
            assert_eq!(decode_safe_escapes(path), decoded, "{path}");
        }
    }

    #[test]
    fn other_escapes_are_not_decoded() {
        for path in [
            "%2F", "%2f", "%5C", "%3B", "%00", "%0d%0a", "%25", "%2524", "%252e", "%7f", "%80", "%c3%a4",
            "%20", "%23", "%3F", "%22", "%3C", "%", "%4", "%zz", "%+1", "%%", "a%", "%\u{e4}",
        ] {
            assert_eq!(decode_safe_escapes(path), path);
        }
        assert_eq!(decode_safe_escapes("%%24"), "%$");
    }

    proptest! {
        #[test]
        fn decoded_path_is_not_longer_and_a_path_without_percent_signs_is_unchanged(path in "[a-f0-9%./$]{0,40}|\\PC{0,20}") {
            let decoded = decode_safe_escapes(&path);
            prop_assert!(decoded.len() <= path.len());
            if !path.contains('%') {
                prop_assert_eq!(decoded.as_ref(), path.as_str());
            }
        }

        #[test]
        fn escapes_of_all_safe_characters_are_decoded(path in "[A-Za-z0-9._~!$&'()*+,:=@/-]{0,40}") {
            let escape = |byte: u8| if byte == b'/' { "/".to_owned() } else { format!("%{byte:02X}") };
            let escapes: String = path.bytes().map(escape).collect();
            prop_assert_eq!(decode_safe_escapes(&escapes), path);
        }
    }
}

//! Conditional requests (RFC 9110 13) and the cache directives of requests (RFC 9111 5.2.1).

use std::time::SystemTime;

use http::{HeaderMap, header};

/// Whether the client has the current representation. `etag` is the entity tag of the representation as sent, and
/// `last_modified` is the time of its last change, in whole seconds. If the request has both conditions, only the entity tag is
/// compared, because it is exact (RFC 9110 13.1.3).
pub fn is_not_modified(headers: &HeaderMap, etag: &[u8], last_modified: Option<SystemTime>) -> bool {
    if headers.contains_key(header::IF_NONE_MATCH) {
        return if_none_match_contains(headers, etag);
    }
    // An invalid date is ignored, as are several dates.
    let mut lines = headers.get_all(header::IF_MODIFIED_SINCE).iter();
    let since = match (lines.next(), lines.next()) {
        (Some(line), None) => line.to_str().ok().and_then(|text| httpdate::parse_http_date(text).ok()),
        _ => None,
    };
    since.zip(last_modified).is_some_and(|(since, modified)| modified <= since)
}

/// Whether `If-None-Match` is `*` or contains `etag` by weak comparison.
fn if_none_match_contains(headers: &HeaderMap, etag: &[u8]) -> bool {
    let lines = headers.get_all(header::IF_NONE_MATCH).iter().map(http::HeaderValue::as_bytes);
    let candidates = lines.flat_map(|line| line.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    candidates.into_iter().any(|candidate| candidate == b"*" || opaque_tag(candidate) == opaque_tag(etag))
}

/// Returns the opaque tag, which the weak comparison compares (RFC 9110 8.8.3.2).
fn opaque_tag(etag: &[u8]) -> &[u8] {
    etag.strip_prefix(b"W/").unwrap_or(etag)
}

/// Whether the client bypasses caches: `Cache-Control: no-cache`, `no-store`, `max-age=0`, or `Pragma: no-cache` without
/// Cache-Control.
pub fn bypasses_cache(headers: &HeaderMap) -> bool {
    let contains_any = |name, directives: &[&str]| {
        let lines = headers.get_all(name).iter().filter_map(|line: &http::HeaderValue| line.to_str().ok());
        let mut values = lines.flat_map(|line| line.split(',')).map(str::trim);
        values.any(|value| directives.iter().any(|directive| value.eq_ignore_ascii_case(directive)))
    };
    if headers.contains_key(header::CACHE_CONTROL) {
        contains_any(header::CACHE_CONTROL, &["no-cache", "no-store", "max-age=0"])
    } else {
        headers.contains_key(header::PRAGMA) && contains_any(header::PRAGMA, &["no-cache"])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn headers(name: HeaderName, line: &'static str) -> HeaderMap {
        [(name, HeaderValue::from_static(line))].into_iter().collect()
    }

    #[test]
    fn a_weak_or_strong_tag_is_found_in_a_list() {
        let matches = |line| if_none_match_contains(&headers(header::IF_NONE_MATCH, line), b"W/\"abc\"");
        assert!(matches("W/\"abc\"") && matches("\"abc\"") && matches("\"x\", W/\"abc\"") && matches("*"));
        assert!(!matches("\"ab\"") && !matches("abc") && !matches("W/abc") && !matches("\"\""));
        assert!(!if_none_match_contains(&HeaderMap::new(), b"\"abc\""));
    }

    #[test]
    fn a_date_is_compared_only_without_a_tag() {
        let second = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(784_111_777);
        let not_modified = |pairs: &[(HeaderName, &'static str)], modified| {
            let pairs = pairs.iter().map(|(name, line)| (name.clone(), HeaderValue::from_static(line)));
            is_not_modified(&pairs.collect(), b"W/\"abc\"", modified)
        };
        let since = |line| [(header::IF_MODIFIED_SINCE, line)];
        for same in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Mon, 07 Nov 1994 08:49:37 GMT",
        ] {
            assert!(not_modified(&since(same), Some(second)), "{same}");
            assert!(!not_modified(&since(same), None), "{same}");
        }
        for other in ["Sun, 06 Nov 1994 08:49:36 GMT", "yesterday", "", "784111777"] {
            assert!(!not_modified(&since(other), Some(second)), "{other}");
        }
        let later = (header::IF_MODIFIED_SINCE, "Mon, 07 Nov 1994 08:49:37 GMT");
        assert!(!not_modified(&[(header::IF_NONE_MATCH, "\"x\""), later.clone()], Some(second)));
        assert!(not_modified(&[(header::IF_NONE_MATCH, "\"abc\""), later], None));
    }

    #[test]
    fn a_client_can_bypass_the_cache() {
        let bypasses = |name, line| bypasses_cache(&headers(name, line));
        assert!(
            bypasses(header::CACHE_CONTROL, "no-cache") && bypasses(header::CACHE_CONTROL, "foo, No-Cache")
        );
        assert!(bypasses(header::CACHE_CONTROL, "max-age=0") && bypasses(header::PRAGMA, "no-cache"));
        assert!(!bypasses(header::CACHE_CONTROL, "max-age=60") && !bypasses_cache(&HeaderMap::new()));
    }
}

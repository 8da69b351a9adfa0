//! Conditional requests (RFC 9110 13) and what a caller says of caches (RFC 9111 5.2.1).

use http::{HeaderMap, header};

/// Whether `If-None-Match` names `etag`, an entity tag as it is sent: in a list, by `*`, weakly compared.
pub fn none_match_names(headers: &HeaderMap, etag: &[u8]) -> bool {
    let lines = headers.get_all(header::IF_NONE_MATCH).iter().map(http::HeaderValue::as_bytes);
    let candidates = lines.flat_map(|line| line.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    candidates.into_iter().any(|candidate| candidate == b"*" || opaque(candidate) == opaque(etag))
}

/// What a weak comparison compares (RFC 9110 8.8.3.2).
fn opaque(etag: &[u8]) -> &[u8] {
    etag.strip_prefix(b"W/").unwrap_or(etag)
}

/// Whether the caller wants what the archives hold now: `Cache-Control: no-cache`, `no-store`, `max-age=0`, or
/// `Pragma: no-cache` where there is no Cache-Control.
pub fn wants_reload(headers: &HeaderMap) -> bool {
    let says = |name, wanted: &[&str]| {
        let lines = headers.get_all(name).iter().filter_map(|line: &http::HeaderValue| line.to_str().ok());
        let mut directives = lines.flat_map(|line| line.split(',')).map(str::trim);
        directives.any(|directive| wanted.iter().any(|wanted| directive.eq_ignore_ascii_case(wanted)))
    };
    if headers.contains_key(header::CACHE_CONTROL) {
        says(header::CACHE_CONTROL, &["no-cache", "no-store", "max-age=0"])
    } else {
        headers.contains_key(header::PRAGMA) && says(header::PRAGMA, &["no-cache"])
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
    fn a_tag_is_found_in_a_list_however_strong_it_is() {
        let names = |line| none_match_names(&headers(header::IF_NONE_MATCH, line), b"W/\"abc\"");
        assert!(names("W/\"abc\"") && names("\"abc\"") && names("\"x\", W/\"abc\"") && names("*"));
        assert!(!names("\"ab\"") && !names("abc") && !names("W/abc") && !names("\"\""));
        assert!(!none_match_names(&HeaderMap::new(), b"\"abc\""));
    }

    #[test]
    fn a_caller_can_ask_past_the_cache() {
        let wants = |name, line| wants_reload(&headers(name, line));
        assert!(wants(header::CACHE_CONTROL, "no-cache") && wants(header::CACHE_CONTROL, "foo, No-Cache"));
        assert!(wants(header::CACHE_CONTROL, "max-age=0") && wants(header::PRAGMA, "no-cache"));
        assert!(!wants(header::CACHE_CONTROL, "max-age=60") && !wants_reload(&HeaderMap::new()));
    }
}

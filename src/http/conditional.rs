//! Conditional requests (RFC 9110 13) and what a caller says of caches (RFC 9111 5.2.1).

use http::{HeaderMap, header};

/// An entity tag as it is sent: weak, as one content has several encodings.
pub fn weak(tag: &str) -> String {
    format!("W/\"{tag}\"")
}

/// Whether `If-None-Match` names `tag`: in a list, by `*`, weakly compared.
pub fn none_match_names(headers: &HeaderMap, tag: &str) -> bool {
    let lines = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).any(|candidate| {
        let opaque = candidate.strip_prefix("W/").unwrap_or(candidate);
        candidate == "*" || opaque.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) == Some(tag)
    })
}

/// Whether the caller wants what the archives hold now: `Cache-Control: no-cache`, `no-store`, `max-age=0`, or
/// `Pragma: no-cache` where there is no Cache-Control.
pub fn wants_reload(headers: &HeaderMap) -> bool {
    let directives = |name| {
        let lines = headers.get_all(name).iter().filter_map(|line: &http::HeaderValue| line.to_str().ok());
        lines
            .flat_map(|line| line.split(','))
            .map(|directive| directive.trim().to_ascii_lowercase())
            .collect::<Vec<_>>()
    };
    let control = directives(header::CACHE_CONTROL);
    if control.is_empty() {
        return directives(header::PRAGMA).iter().any(|directive| directive == "no-cache");
    }
    control.iter().any(|directive| matches!(directive.as_str(), "no-cache" | "no-store" | "max-age=0"))
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
        let names = |line| none_match_names(&headers(header::IF_NONE_MATCH, line), "abc");
        assert!(names("W/\"abc\"") && names("\"abc\"") && names("\"x\", W/\"abc\"") && names("*"));
        assert!(!names("\"ab\"") && !names("abc") && !names("W/abc") && !names("\"\""));
        assert!(!none_match_names(&HeaderMap::new(), "abc"));
    }

    #[test]
    fn a_caller_can_ask_past_the_cache() {
        let wants = |name, line| wants_reload(&headers(name, line));
        assert!(wants(header::CACHE_CONTROL, "no-cache") && wants(header::CACHE_CONTROL, "foo, No-Cache"));
        assert!(wants(header::CACHE_CONTROL, "max-age=0") && wants(header::PRAGMA, "no-cache"));
        assert!(!wants(header::CACHE_CONTROL, "max-age=60") && !wants_reload(&HeaderMap::new()));
    }
}

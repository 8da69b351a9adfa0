//! The headers of a response: those of the archive's that are forwarded, and the gateway's own (PS3.18 8.4, RFC 9110).

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::dicomweb::url_rewrite::url_map::{UrlMap, UrlRewrite};

/// The headers of an archive's response that are forwarded, and the gateway's own. `changed`: the body's bytes are not the
/// archive's.
pub(crate) fn forwarded_headers(upstream: &HeaderMap, urls: &UrlMap, changed: bool) -> HeaderMap {
    const FORWARDED: [HeaderName; 1] = [header::LAST_MODIFIED];
    let mut headers = HeaderMap::new();
    for name in FORWARDED {
        if let Some(value) = upstream.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    if !changed && let Some(ranges) = upstream.get(header::ACCEPT_RANGES) {
        headers.insert(header::ACCEPT_RANGES, ranges.clone());
    }
    if let Some(etag) = upstream.get(header::ETAG).and_then(|etag| forwarded_etag(etag, changed)) {
        headers.insert(header::ETAG, etag);
    }
    for warning in upstream.get_all(header::WARNING).iter().filter_map(forwarded_warning) {
        headers.append(header::WARNING, warning);
    }
    if let Some(location) = upstream.get(header::CONTENT_LOCATION)
        && let Some(location) = rewritten_location(location, urls)
    {
        headers.insert(header::CONTENT_LOCATION, location);
    }
    describe(&mut headers);
    headers
}

/// Sets the headers that every response has.
pub(crate) fn describe(headers: &mut HeaderMap) {
    headers.insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Rendered resources may be HTML or SVG, which can hold scripts.
    let policy = HeaderValue::from_static("default-src 'none'; sandbox");
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
}

/// A strong validator identifies bytes (RFC 9110 8.8.1); it becomes weak when URLs in them were rewritten.
fn forwarded_etag(etag: &HeaderValue, changed: bool) -> Option<HeaderValue> {
    let text = etag.to_str().ok()?;
    if !changed || text.starts_with("W/") {
        Some(etag.clone())
    } else {
        HeaderValue::from_str(&format!("W/{text}")).ok()
    }
}

/// A warning without the name of its sender, which is the archive's URL (PS3.18 8.3.4.4: `299 {SERVICE}: "..."`).
fn forwarded_warning(warning: &HeaderValue) -> Option<HeaderValue> {
    let text = warning.to_str().ok()?;
    let code = text.get(..3).filter(|code| code.bytes().all(|byte| byte.is_ascii_digit()))?;
    let message = match text.split_once('"') {
        Some((_, quoted)) => quoted.split('"').next()?,
        // Some archives omit the quotes.
        None => text.get(3..)?.trim_start().split_once(": ")?.1,
    };
    if message.contains("//") {
        return None;
    }
    HeaderValue::from_str(&format!("{code} dicomweb-gateway \"{message}\"")).ok()
}

/// A Content-Location with the gateway's URL; `None` where it names no resource that is served here.
pub(crate) fn rewritten_location(location: &HeaderValue, urls: &UrlMap) -> Option<HeaderValue> {
    match urls.rewrite(location.to_str().ok()?) {
        UrlRewrite::Rewritten(url) => HeaderValue::from_str(&url).ok(),
        UrlRewrite::Unchanged | UrlRewrite::Dropped => None,
    }
}

/// The Content-Type of a response; `application/octet-stream` without one.
pub(crate) fn content_type_of(headers: &HeaderMap) -> String {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.unwrap_or("application/octet-stream").to_owned()
}

/// The media type without its parameters, in lower case.
pub(crate) fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warning_is_forwarded_without_the_name_of_the_archive() {
        let shown = |text: &'static str| {
            forwarded_warning(&HeaderValue::from_static(text)).map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(
            shown("299 http://pacs:8042/rs: \"The fuzzymatching parameter is not supported.\"").as_deref(),
            Some("299 dicomweb-gateway \"The fuzzymatching parameter is not supported.\"")
        );
        assert_eq!(
            shown("299 pacs:8042: There are 5 additional results").as_deref(),
            Some("299 dicomweb-gateway \"There are 5 additional results\"")
        );
        assert_eq!(shown("299 pacs \"see http://pacs/\""), None);
        assert_eq!(shown("nonsense"), None);
    }

    #[test]
    fn etag_of_changed_bytes_is_weak() {
        let shown = |text: &'static str, changed| forwarded_etag(&HeaderValue::from_static(text), changed);
        assert_eq!(shown("\"a\"", false), Some(HeaderValue::from_static("\"a\"")));
        assert_eq!(shown("\"a\"", true), Some(HeaderValue::from_static("W/\"a\"")));
        assert_eq!(shown("W/\"a\"", true), Some(HeaderValue::from_static("W/\"a\"")));
    }
}

//! The headers of a response: forwarded headers of the archive, and headers that the gateway sets (PS3.18 8.4, RFC 9110).

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::dicomweb::url_rewrite::url_map::{UrlMap, UrlRewrite};

/// Returns the headers of the response to a client. `upstream` contains the headers of the archive. `is_changed` states whether the
/// bytes of the body differ from those of the archive.
pub(crate) fn forwarded_headers(upstream: &HeaderMap, urls: &UrlMap, is_changed: bool) -> HeaderMap {
    const FORWARDED: [HeaderName; 1] = [header::LAST_MODIFIED];
    let mut headers = HeaderMap::new();
    for name in FORWARDED {
        if let Some(value) = upstream.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    if !is_changed && let Some(ranges) = upstream.get(header::ACCEPT_RANGES) {
        headers.insert(header::ACCEPT_RANGES, ranges.clone());
    }
    if let Some(etag) = upstream.get(header::ETAG).and_then(|etag| forward_etag(etag, is_changed)) {
        headers.insert(header::ETAG, etag);
    }
    for warning in upstream.get_all(header::WARNING).iter().filter_map(forward_warning) {
        headers.append(header::WARNING, warning);
    }
    if let Some(location) = upstream.get(header::CONTENT_LOCATION)
        && let Some(location) = rewrite_location(location, urls)
    {
        headers.insert(header::CONTENT_LOCATION, location);
    }
    set_common_headers(&mut headers);
    headers
}

/// Sets the headers that all responses have.
pub(crate) fn set_common_headers(headers: &mut HeaderMap) {
    headers.insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Rendered resources may be HTML or SVG, which can contain scripts.
    let policy = HeaderValue::from_static("default-src 'none'; sandbox");
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
}

/// Returns the ETag of a response. A strong validator identifies bytes (RFC 9110 8.8.1), so it becomes weak if the bytes are changed.
fn forward_etag(etag: &HeaderValue, is_changed: bool) -> Option<HeaderValue> {
    let text = etag.to_str().ok()?;
    if !is_changed || text.starts_with("W/") {
        Some(etag.clone())
    } else {
        HeaderValue::from_str(&format!("W/{text}")).ok()
    }
}

/// Returns a warning with the name of the gateway instead of the URL of the archive (PS3.18 8.3.4.4: `299 {SERVICE}: "..."`).
fn forward_warning(warning: &HeaderValue) -> Option<HeaderValue> {
    let text = warning.to_str().ok()?;
    let code = text.get(..3).filter(|code| code.bytes().all(|byte| byte.is_ascii_digit()))?;
    let message = match text.split_once('"') {
        Some((_, quoted)) => quoted.split('"').next()?,
        // Some archives omit the quotation marks.
        None => text.get(3..)?.trim_start().split_once(": ")?.1,
    };
    if message.contains("//") {
        return None;
    }
    HeaderValue::from_str(&format!("{code} dicomweb-gateway \"{message}\"")).ok()
}

/// Returns a Content-Location with the URL of the gateway, or `None` if the gateway does not serve the resource.
pub(crate) fn rewrite_location(location: &HeaderValue, urls: &UrlMap) -> Option<HeaderValue> {
    match urls.rewrite(location.to_str().ok()?) {
        UrlRewrite::Rewritten(url) => HeaderValue::from_str(&url).ok(),
        UrlRewrite::Unchanged | UrlRewrite::Dropped => None,
    }
}

/// Returns the Content-Type of a response, `application/octet-stream` by default.
pub(crate) fn content_type_of(headers: &HeaderMap) -> String {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.unwrap_or("application/octet-stream").to_owned()
}

/// Returns the media type without its parameters, in lower case.
pub(crate) fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_forwarded_without_the_name_of_the_archive() {
        let forwarded = |text: &'static str| {
            forward_warning(&HeaderValue::from_static(text)).map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(
            forwarded("299 http://pacs:8042/rs: \"The fuzzymatching parameter is not supported.\"")
                .as_deref(),
            Some("299 dicomweb-gateway \"The fuzzymatching parameter is not supported.\"")
        );
        assert_eq!(
            forwarded("299 pacs:8042: There are 5 additional results").as_deref(),
            Some("299 dicomweb-gateway \"There are 5 additional results\"")
        );
        assert_eq!(forwarded("299 pacs \"see http://pacs/\""), None);
        assert_eq!(forwarded("nonsense"), None);
    }

    #[test]
    fn the_etag_of_changed_bytes_is_weak() {
        let forwarded =
            |text: &'static str, is_changed| forward_etag(&HeaderValue::from_static(text), is_changed);
        assert_eq!(forwarded("\"a\"", false), Some(HeaderValue::from_static("\"a\"")));
        assert_eq!(forwarded("\"a\"", true), Some(HeaderValue::from_static("W/\"a\"")));
        assert_eq!(forwarded("W/\"a\"", true), Some(HeaderValue::from_static("W/\"a\"")));
    }
}

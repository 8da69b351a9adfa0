//! The headers of a response: forwarded headers of the archive, and headers that the gateway sets (PS3.18 8.4, RFC 9110).

use http::{HeaderMap, HeaderValue, header};

use crate::dicomweb::url_rewrite::url_map::{UrlMap, UrlRewrite};
use crate::http::negotiation::MediaRange;

/// Returns the headers of the response to a client. `upstream` contains the headers of the archive. `is_changed` states whether the
/// bytes of the body differ from those of the archive.
pub(crate) fn forwarded_headers(upstream: &HeaderMap, urls: &UrlMap, is_changed: bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(modified) = upstream.get(header::LAST_MODIFIED).filter(|modified| is_http_date(modified)) {
        headers.insert(header::LAST_MODIFIED, modified.clone());
    }
    let is_unit = |ranges: &&HeaderValue| matches!(ranges.as_bytes(), b"bytes" | b"none");
    if !is_changed && let Some(ranges) = upstream.get(header::ACCEPT_RANGES).filter(is_unit) {
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

/// Whether the value is a date that clients can send back (RFC 9110 5.6.7).
fn is_http_date(value: &HeaderValue) -> bool {
    value.to_str().is_ok_and(|text| httpdate::parse_http_date(text).is_ok())
}

/// Whether `text` is an entity tag (RFC 9110 8.8.3).
fn is_entity_tag(text: &str) -> bool {
    let opaque = text.strip_prefix("W/").unwrap_or(text);
    let opaque = opaque.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    opaque.is_some_and(|opaque| opaque.bytes().all(|byte| matches!(byte, b'!' | b'#'..=b'~')))
}

/// Returns the Content-Type of a response without parameters that DICOMweb does not define (PS3.18 8.6.1.2, 8.7.3).
pub(crate) fn forwarded_content_type(upstream: &HeaderValue) -> HeaderValue {
    const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");
    let Some(mut range) = upstream.to_str().ok().and_then(MediaRange::parse) else { return OCTETS };
    let known: &[&str] = if range.essence.starts_with("multipart/") {
        &["type", "transfer-syntax", "boundary"]
    } else {
        &["transfer-syntax", "charset"]
    };
    if range.parameters.iter().all(|(name, _)| known.contains(&name.as_str())) {
        return upstream.clone();
    }
    for (_, value) in &mut range.parameters {
        // Some archives write single quotes.
        *value = value.trim_matches('\'').to_owned();
    }
    HeaderValue::from_str(&range.with_only(known)).unwrap_or(OCTETS)
}

/// Returns the Content-Type of a multipart response with `boundary`, if it declares none. Clients cannot read the body without it (RFC 2046
/// 5.1.1), but Static-DICOMWeb omits it.
pub(crate) fn with_boundary(headers: &HeaderMap, boundary: &str) -> Option<HeaderValue> {
    let content_type = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let range = MediaRange::parse(content_type)?;
    if !range.essence.starts_with("multipart/") || range.parameter("boundary").is_some() {
        return None;
    }
    let is_quotable = !boundary.contains(['"', '\\']);
    is_quotable.then(|| HeaderValue::from_str(&format!("{content_type}; boundary=\"{boundary}\"")).ok())?
}

/// Returns the ETag of a response; `None` if it is not an entity tag. A strong validator identifies bytes (RFC 9110 8.8.1), so it becomes weak if the bytes are changed.
fn forward_etag(etag: &HeaderValue, is_changed: bool) -> Option<HeaderValue> {
    let text = etag.to_str().ok().filter(|text| is_entity_tag(text))?;
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
        for invalid in ["a", "\"a", "w/\"a\"", "\"a\"b\"", "", "\""] {
            assert_eq!(forwarded(invalid, false), None, "{invalid}");
        }
    }

    #[test]
    fn a_last_modified_that_is_no_date_is_not_forwarded() {
        let url = url::Url::parse("http://pacs/rs").unwrap();
        let urls = UrlMap::new("https://gw/dicom-web/main", &url, &url, "studies/1.2");
        for (text, is_forwarded) in
            [("Sun, 06 Nov 1994 08:49:37 GMT", true), ("2024-01-31", false), ("http://pacs/", false)]
        {
            let upstream = HeaderMap::from_iter([(header::LAST_MODIFIED, HeaderValue::from_static(text))]);
            let headers = forwarded_headers(&upstream, &urls, false);
            assert_eq!(headers.contains_key(header::LAST_MODIFIED), is_forwarded, "{text}");
        }
    }

    #[test]
    fn only_parameters_of_dicomweb_are_forwarded_in_the_content_type() {
        let forwarded = |text: &'static str| {
            forwarded_content_type(&HeaderValue::from_static(text)).to_str().unwrap().to_owned()
        };
        for unchanged in [
            "multipart/related; type=\"application/dicom\"; boundary=abc",
            "image/jpeg;transfer-syntax=1.2.840.10008.1.2.4.50",
            "application/dicom+json; charset=utf-8",
        ] {
            assert_eq!(forwarded(unchanged), unchanged);
        }
        for (text, expected) in [
            (
                "multipart/related; x=http://pacs; Type='application/dicom'; start=<a>; boundary=\"a b\"",
                "multipart/related; type=\"application/dicom\"; boundary=\"a b\"",
            ),
            ("image/jpeg; name=DOE", "image/jpeg"),
            ("nonsense", "application/octet-stream"),
        ] {
            assert_eq!(forwarded(text), expected);
        }
    }
}

//! Maps URLs of an archive to URLs of the gateway.
//!
//! In RetrieveURL, BulkDataURI and Content-Location archives write URLs with the configured host, with a host from the headers of
//! a proxy, with another host, or relative URLs. A URL of a resource that the gateway serves becomes a URL of the gateway; any
//! other URL is dropped, because clients cannot follow it. The query of a URL is sealed, because it may be a secret of the archive.

use url::Url;

use super::query_seal::QuerySeal;
use crate::dicomweb::request::path::Resource;
use crate::dicomweb::request::retrieval_query::SEALED_QUERY;
use dicom_model::UidRule;

/// The result of rewriting a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UrlRewrite {
    /// The URL is replaced by this URL of the gateway.
    Rewritten(String),
    /// The URL has no host, and is valid at the gateway.
    Unchanged,
    /// Clients of the gateway cannot follow the URL.
    Dropped,
}

/// The URLs of one archive, for one of its responses.
#[derive(Debug, Clone)]
pub struct UrlMap {
    /// The public URL of the archive, without a trailing slash: `https://gateway.example/dicom-web/main`.
    public_url: String,
    /// The roots at the archive, without a trailing slash: `http://10.0.0.7:8042/dicom-web`.
    roots: Vec<String>,
    /// The authorities of the archive: `10.0.0.7:8042`.
    authorities: Vec<String>,
    /// Whether the public URL has no character that is escaped in JSON or XML.
    is_public_unescaped: bool,
    /// The requested path relative to the root, which is the base of relative references (RFC 3986 5.2).
    resource: String,
    /// Seals the queries of URLs; `None` if they are sealed already.
    query_seal: Option<QuerySeal>,
    /// The rule for the UIDs in paths that the gateway serves.
    uid_rule: UidRule,
}

impl UrlMap {
    /// Creates the map for a response to `resource`, a path relative to the root of the archive.
    pub fn new(public_url: &str, qido: &Url, wado: &Url, resource: &str) -> Self {
        let mut roots = Vec::new();
        let mut authorities = Vec::new();
        for root in [qido, wado] {
            let authority = root.authority().to_owned();
            let root_url = format!("{}://{authority}{}", root.scheme(), root.path().trim_end_matches('/'));
            if !roots.contains(&root_url) {
                roots.push(root_url);
            }
            if !authorities.contains(&authority) {
                authorities.push(authority);
            }
        }
        Self {
            public_url: public_url.trim_end_matches('/').to_owned(),
            is_public_unescaped: public_url.bytes().all(is_unescaped),
            roots,
            authorities,
            resource: resource.to_owned(),
            query_seal: None,
            uid_rule: UidRule::Strict,
        }
    }

    /// Seals the queries of URLs with `seal`. Without it, only sealed queries are preserved.
    #[must_use]
    pub fn with_query_seal(self, seal: QuerySeal) -> Self {
        Self { query_seal: Some(seal), ..self }
    }

    /// Sets the rule for the UIDs of the archive, whose default is [`UidRule::Strict`].
    #[must_use]
    pub fn with_uid_rule(self, uid_rule: UidRule) -> Self {
        Self { uid_rule, ..self }
    }

    /// Returns the map for a response to another resource of the same archive.
    #[must_use]
    pub(crate) fn for_resource(&self, resource: &str) -> Self {
        Self { resource: resource.to_owned(), ..self.clone() }
    }

    /// Returns the public URL of the archive.
    pub fn public_url(&self) -> &str {
        &self.public_url
    }

    /// Rewrites the value of an element or header that is a URL.
    pub fn rewrite(&self, url: &str) -> UrlRewrite {
        let Some((without_query, query)) = url.split_once('?') else {
            return self.rewrite_without_query(url);
        };
        let rewritten = match self.rewrite_without_query(without_query) {
            UrlRewrite::Rewritten(rewritten) => rewritten,
            // The query is meant for the archive, but would be sent to the gateway.
            UrlRewrite::Unchanged | UrlRewrite::Dropped => return UrlRewrite::Dropped,
        };
        let path = rewritten.strip_prefix(&self.public_url).unwrap_or_default().trim_start_matches('/');
        let query = match &self.query_seal {
            Some(seal) => seal.seal(path, query),
            None => query.starts_with(SEALED_QUERY).then(|| query.to_owned()),
        };
        query.map_or(UrlRewrite::Dropped, |query| UrlRewrite::Rewritten(format!("{rewritten}?{query}")))
    }

    fn rewrite_without_query(&self, url: &str) -> UrlRewrite {
        if let Some(rest) = self.strip_root(url) {
            let path = rest.strip_suffix('/').unwrap_or(rest);
            let is_served = path.is_empty() || path.strip_prefix('/').is_some_and(|path| self.serves(path));
            return if is_served {
                UrlRewrite::Rewritten(format!("{}{path}", self.public_url))
            } else {
                UrlRewrite::Dropped
            };
        }
        if url.is_empty() {
            return UrlRewrite::Unchanged;
        }
        match UrlForm::parse(url) {
            UrlForm::WithHost(path) | UrlForm::AbsolutePath(path) => match self.served_path(path) {
                Some(resource) => UrlRewrite::Rewritten(format!("{}/{resource}", self.public_url)),
                None => UrlRewrite::Dropped,
            },
            UrlForm::Relative => match self.resolve(url) {
                Some(resource) => UrlRewrite::Rewritten(format!("{}/{resource}", self.public_url)),
                None if has_parent_segment(url) => UrlRewrite::Dropped,
                None => UrlRewrite::Unchanged,
            },
            UrlForm::OtherScheme => UrlRewrite::Dropped,
        }
    }

    /// Rewrites an absolute URL in a text. Only a URL with the host of the archive, or of a resource, is changed.
    pub fn rewrite_in_text(&self, url: &str) -> UrlRewrite {
        match UrlForm::parse(url) {
            UrlForm::WithHost(path) => match self.rewrite(url) {
                UrlRewrite::Dropped if self.has_archive_authority(url, path) => UrlRewrite::Dropped,
                UrlRewrite::Dropped => UrlRewrite::Unchanged,
                rewrite => rewrite,
            },
            _ => UrlRewrite::Unchanged,
        }
    }

    /// Removes one of the roots from `url`.
    fn strip_root<'a>(&self, url: &'a str) -> Option<&'a str> {
        self.roots.iter().find_map(|root| {
            let rest = url.strip_prefix(root.as_str())?;
            // The rest must not contain another URL, which would not be rewritten.
            (rest.is_empty() || rest.starts_with('/') && !rest.contains("//")).then_some(rest)
        })
    }

    /// Returns the length of the root that `text` begins with, if it is sufficient to replace the root because the rest is the path
    /// of a resource that the gateway serves, which has no query and no escapes of JSON or XML.
    pub(crate) fn root_len(&self, text: &[u8]) -> Option<usize> {
        let root = self.roots.iter().find(|root| text.starts_with(root.as_bytes()))?;
        let rest = text.get(root.len()..)?;
        (rest.is_empty() && self.is_public_unescaped || self.is_served(rest)).then_some(root.len())
    }

    /// Whether `path`, which begins with a slash, is the path of a resource that the gateway serves, and can be appended to the
    /// public URL without escapes.
    pub(crate) fn is_served(&self, path: &[u8]) -> bool {
        let resource = path.strip_prefix(b"/").and_then(|path| str::from_utf8(path).ok());
        // The path of a resource contains no byte that is escaped in JSON or XML.
        self.is_public_unescaped
            && resource.is_some_and(|path| {
                let is_valid = || path.starts_with("studies") && self.serves(path);
                Resource::is_objects_path(self.uid_rule, path) || is_valid()
            })
    }

    /// Whether the authority between the scheme and `path` is that of the archive.
    fn has_archive_authority(&self, url: &str, path: &str) -> bool {
        let path_start = url.len().saturating_sub(path.len());
        let authority = url.get(..path_start).and_then(|head| head.split("//").nth(1)).unwrap_or_default();
        let authority = authority.rsplit('@').next().unwrap_or_default();
        self.authorities.iter().any(|archive_authority| archive_authority.eq_ignore_ascii_case(authority))
    }

    /// Resolves a relative reference (RFC 3986 5.2.4); `None` if the gateway does not serve the path.
    fn resolve(&self, reference: &str) -> Option<String> {
        let mut segments: Vec<&str> = self.resource.split('/').collect();
        segments.pop();
        for segment in reference.split('/') {
            match segment {
                "." => {}
                ".." => {
                    segments.pop()?;
                }
                segment => segments.push(segment),
            }
        }
        let path = segments.join("/");
        self.serves(&path).then_some(path)
    }

    /// Returns the part of `path` that is the path of a resource that the gateway serves, after any root.
    fn served_path<'a>(&self, path: &'a str) -> Option<&'a str> {
        let resources = path.match_indices("/studies").filter_map(|(start, _)| path.get(start + 1..));
        let resources = resources.map(|resource| resource.strip_suffix('/').unwrap_or(resource));
        let mut resources = resources.filter(|resource| self.serves(resource));
        resources.next()
    }

    /// Whether `path`, without a leading slash, is the path of a resource that the gateway serves.
    fn serves(&self, path: &str) -> bool {
        Resource::parse_by(self.uid_rule, path).is_ok()
    }
}

/// Whether the byte is not escaped in JSON and XML.
pub(crate) fn is_unescaped(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~') && !matches!(byte, b'"' | b'\'' | b'&' | b'<' | b'\\')
}

/// The form of a URL.
enum UrlForm<'a> {
    /// `http://host/path` or `//host/path`, with the path.
    WithHost(&'a str),
    /// An absolute path `/path`.
    AbsolutePath(&'a str),
    /// A relative path `path`.
    Relative,
    /// Another scheme, such as `file:` or `data:`.
    OtherScheme,
}

impl<'a> UrlForm<'a> {
    fn parse(url: &'a str) -> Self {
        let lower = url.get(..8).unwrap_or(url).to_ascii_lowercase();
        let scheme = ["http://", "https://", "//"].into_iter().find(|scheme| lower.starts_with(scheme));
        if let Some(scheme) = scheme {
            let rest = url.get(scheme.len()..).unwrap_or_default();
            let path = rest.find(['/', '?', '#']).and_then(|start| rest.get(start..)).unwrap_or_default();
            return Self::WithHost(path);
        }
        let before_path = url.split(['/', '?', '#']).next().unwrap_or_default();
        // URL parsers remove these characters (URL Standard, URL parsing), so clients would parse another URL.
        let has_removed_characters =
            url.starts_with(|first: char| first <= ' ') || url.contains(['\t', '\n', '\r']);
        match url.bytes().next() {
            _ if has_removed_characters => Self::OtherScheme,
            Some(b'/') => Self::AbsolutePath(url),
            // Browsers interpret a backslash as a slash.
            _ if before_path.contains(':') || url.contains('\\') => Self::OtherScheme,
            _ => Self::Relative,
        }
    }
}

/// Whether a relative reference contains the segment `..`.
fn has_parent_segment(reference: &str) -> bool {
    reference.split('/').any(|segment| segment == "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url_map() -> UrlMap {
        let root = Url::parse("http://10.0.0.7:8042/dicom-web/").unwrap();
        UrlMap::new(
            "https://gw.example/x/dicom-web/main/",
            &root,
            &root,
            "studies/1.2/series/1.3/instances/1.4/metadata",
        )
    }

    fn gateway_url(path: &str) -> UrlRewrite {
        UrlRewrite::Rewritten(format!("https://gw.example/x/dicom-web/main{path}"))
    }

    #[test]
    fn every_form_of_an_archive_url_is_rewritten() {
        for (url, path) in [
            ("http://10.0.0.7:8042/dicom-web", ""),
            ("http://10.0.0.7:8042/dicom-web/studies/1.2", "/studies/1.2"),
            ("http://10.0.0.7:8042/dicom-web/", ""),
            ("http://10.0.0.7:8042/dicom-web/studies/1.2/bulkdata/a/b", "/studies/1.2/bulkdata/a/b"),
            ("HTTP://OTHER/dicom-web/studies/1.2", "/studies/1.2"),
            ("https://inner:8042/pacs/rs/studies/1.2/series/1.3", "/studies/1.2/series/1.3"),
            ("//inner/studies/1.2", "/studies/1.2"),
            ("/dicom-web/studies/1.2", "/studies/1.2"),
            (
                "http://healthcare.example/v1/projects/studies/dicomWeb/studies/1.2/series/1.3/instances/1.4/bulkdata/7FE00010",
                "/studies/1.2/series/1.3/instances/1.4/bulkdata/7FE00010",
            ),
            ("./frames", "/studies/1.2/series/1.3/instances/1.4/frames"),
            ("../../instances/1.5/bulkdata/1", "/studies/1.2/series/1.3/instances/1.5/bulkdata/1"),
        ] {
            assert_eq!(url_map().rewrite(url), gateway_url(path), "{url}");
        }
    }

    #[test]
    fn the_query_of_a_url_is_sealed() {
        let key = std::sync::Arc::new(crate::http::sealing::SealingKeys::derive([&b"s"[..]]).unwrap());
        let seal = QuerySeal::new(key, crate::archive_id::ArchiveId::parse("main").unwrap());
        let url_map = url_map().with_query_seal(seal.clone());
        for url in [
            "http://10.0.0.7:8042/dicom-web/studies/1.2/bulkdata/1?sig=abc&url=http://x/studies/9",
            "https://inner/studies/1.2/bulkdata/1?sig=abc&url=http://x/studies/9",
            "/dicom-web/studies/1.2/bulkdata/1?sig=abc&url=http://x/studies/9",
        ] {
            let UrlRewrite::Rewritten(rewritten) = url_map.rewrite(url) else { panic!("{url}") };
            let prefix = "https://gw.example/x/dicom-web/main/studies/1.2/bulkdata/1?sealed=";
            let sealed = rewritten.strip_prefix(prefix).unwrap();
            let query = seal.open("studies/1.2/bulkdata/1", sealed);
            assert_eq!(query.unwrap().expose(), "sig=abc&url=http://x/studies/9");
        }
        for url in ["?sig=abc", "frame-1.bin?sig=abc", "http://evil/x?sig=abc", "http://evil/x?/studies/1.2"]
        {
            assert_eq!(url_map.rewrite(url), UrlRewrite::Dropped, "{url}");
        }
    }

    #[test]
    fn urls_of_other_resources_are_dropped() {
        for url in [
            "http://169.254.169.254/latest/meta-data",
            "http://10.0.0.7:8042/app/explorer.html",
            "http://10.0.0.7:8042/dicom-webx/y",
            "http://10.0.0.7:8042/dicom-web/bulk/zz",
            "http://10.0.0.7:8042/dicom-web/bulk/zz?sig=1",
            "http://10.0.0.7:8042/dicom-web/studies/1.2/../1.3",
            "http://evil/studies/1.2?token=1",
            "http://evil/studies/../patients",
            "//evil/x",
            "/app/explorer.html",
            "file:///etc/passwd",
            "s3://bucket/key",
            "javascript:alert(1)",
            "\\\\host\\share",
            "\t//evil/x",
            " //evil/x",
            "/\n/evil/studies",
            "../../../../../../x",
        ] {
            assert_eq!(url_map().rewrite(url), UrlRewrite::Dropped, "{url}");
        }
    }

    #[test]
    fn references_without_a_host_are_unchanged() {
        for reference in ["", "frame-1.bin", "./bulk data"] {
            assert_eq!(url_map().rewrite(reference), UrlRewrite::Unchanged, "{reference}");
        }
    }

    #[test]
    fn only_urls_of_the_archive_are_changed_in_text() {
        let url_map = url_map();
        assert_eq!(
            url_map.rewrite_in_text("http://10.0.0.7:8042/dicom-web/studies/1.2"),
            gateway_url("/studies/1.2")
        );
        assert_eq!(url_map.rewrite_in_text("http://10.0.0.7:8042/app"), UrlRewrite::Dropped);
        assert_eq!(url_map.rewrite_in_text("http://u@10.0.0.7:8042/app"), UrlRewrite::Dropped);
        assert_eq!(url_map.rewrite_in_text("http://dicom.nema.org/PS3.19"), UrlRewrite::Unchanged);
        assert_eq!(url_map.rewrite_in_text("file:///etc/passwd"), UrlRewrite::Unchanged);
    }
}

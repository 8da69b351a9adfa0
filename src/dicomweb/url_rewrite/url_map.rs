//! How an archive spells its own addresses, and what they are called here.
//!
//! Archives write RetrieveURL, BulkDataURI and Content-Location with their own host, with the host that a proxy told
//! them, with a third machine's, or relative. Whatever leads to a resource that the gateway serves becomes its address
//! here; whatever leads elsewhere is dropped, since no client could or should go there.

use memchr::memmem::Finder;
use url::Url;

use crate::dicomweb::request::path::Resource;

/// How a URL is rewritten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UrlRewrite {
    /// It is this one here.
    Rewritten(String),
    /// It names no host and means the same here as there.
    Unchanged,
    /// It leads to where no client of the gateway can go.
    Dropped,
}

/// One archive's spellings, for one answer of it.
#[derive(Debug, Clone)]
pub struct UrlMap {
    /// The archive's base here, without a trailing slash: `https://gateway.example/dicom-web/main`.
    public: String,
    /// The archive's own roots, without a trailing slash: `http://10.0.0.7:8042/dicom-web`.
    roots: Vec<String>,
    /// The archive's own authorities: `10.0.0.7:8042`.
    authorities: Vec<String>,
    /// The public base holds nothing that JSON or XML would escape.
    public_is_plain: bool,
    two_slashes: Finder<'static>,
    /// The path that was asked for, below the root: what relative references start from (RFC 3986 5.2).
    resource: String,
}

impl UrlMap {
    /// For an answer to `resource`, a path below the archive's root.
    pub fn new(public: &str, qido: &Url, wado: &Url, resource: &str) -> Self {
        let mut roots = Vec::new();
        let mut authorities = Vec::new();
        for root in [qido, wado] {
            let authority = root.authority().to_owned();
            let spelled = format!("{}://{authority}{}", root.scheme(), root.path().trim_end_matches('/'));
            if !roots.contains(&spelled) {
                roots.push(spelled);
            }
            if !authorities.contains(&authority) {
                authorities.push(authority);
            }
        }
        Self {
            public: public.trim_end_matches('/').to_owned(),
            public_is_plain: public.bytes().all(is_plain),
            two_slashes: Finder::new("//"),
            roots,
            authorities,
            resource: resource.to_owned(),
        }
    }

    /// The archive's base here.
    pub fn public(&self) -> &str {
        &self.public
    }

    /// Looks at an address that stands where addresses stand.
    pub fn rewrite(&self, address: &str) -> UrlRewrite {
        if let Some(rest) = self.below_root(address) {
            return UrlRewrite::Rewritten(format!("{}{rest}", self.public));
        }
        if address.is_empty() {
            return UrlRewrite::Unchanged;
        }
        match UrlForm::of(address) {
            UrlForm::WithHost(path) | UrlForm::FromHost(path) => match servable(path) {
                Some(resource) => UrlRewrite::Rewritten(format!("{}/{resource}", self.public)),
                None => UrlRewrite::Dropped,
            },
            UrlForm::Relative => match self.resolve(address) {
                Some(resource) => UrlRewrite::Rewritten(format!("{}/{resource}", self.public)),
                None if climbs(address) => UrlRewrite::Dropped,
                None => UrlRewrite::Unchanged,
            },
            UrlForm::OtherScheme => UrlRewrite::Dropped,
        }
    }

    /// Looks at an absolute address that stands in any text: only what names this archive, or is plainly one of its
    /// resources, is touched.
    pub fn rewrite_in_text(&self, address: &str) -> UrlRewrite {
        match UrlForm::of(address) {
            UrlForm::WithHost(path) => match self.rewrite(address) {
                UrlRewrite::Dropped if self.names_archive(address, path) => UrlRewrite::Dropped,
                UrlRewrite::Dropped => UrlRewrite::Unchanged,
                verdict => verdict,
            },
            _ => UrlRewrite::Unchanged,
        }
    }

    /// What of `address` follows one of the roots.
    fn below_root<'a>(&self, address: &'a str) -> Option<&'a str> {
        self.roots.iter().find_map(|root| {
            let rest = address.strip_prefix(root.as_str())?;
            // A second address inside the first would pass unread.
            (rest.is_empty() || rest.starts_with('/') && !rest.contains("//")).then_some(rest)
        })
    }

    /// How long the root is with which `text` begins, when replacing the root is all that is to be done with it: nothing
    /// in it is escaped in JSON or XML.
    pub(crate) fn length_of_root(&self, text: &[u8]) -> Option<usize> {
        let root = self.roots.iter().find(|root| text.starts_with(root.as_bytes()))?;
        let rest = text.get(root.len()..)?;
        let plain = self.public_is_plain
            && matches!(rest.first(), None | Some(b'/'))
            && memchr::memchr2(b'\\', b'&', rest).is_none()
            && self.two_slashes.find(rest).is_none();
        plain.then_some(root.len())
    }

    /// Whether `path`, with the slash that it begins with, names a resource which is served here, and could follow the public
    /// base unchanged.
    pub(crate) fn serves(&self, path: &[u8]) -> bool {
        let resource = path.strip_prefix(b"/").and_then(|path| str::from_utf8(path).ok());
        // No resource has a byte in its path that is escaped anywhere.
        self.public_is_plain
            && resource.is_some_and(|path| {
                let is_other = || path.starts_with("studies") && Resource::parse(path).is_ok();
                Resource::is_of_objects(path) || is_other()
            })
    }

    /// Whether the authority between the scheme and `path` is the archive's.
    fn names_archive(&self, address: &str, path: &str) -> bool {
        let before = address.len().saturating_sub(path.len());
        let authority = address.get(..before).and_then(|head| head.split("//").nth(1)).unwrap_or_default();
        let authority = authority.rsplit('@').next().unwrap_or_default();
        self.authorities.iter().any(|own| own.eq_ignore_ascii_case(authority))
    }

    /// What a relative reference leads to, when that is served here (RFC 3986 5.2.4).
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
        Resource::parse(&path).is_ok().then_some(path)
    }
}

/// Whether the byte stands for itself in JSON and XML.
pub(crate) fn is_plain(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~') && !matches!(byte, b'"' | b'\'' | b'&' | b'<' | b'\\')
}

/// How an address is written.
enum UrlForm<'a> {
    /// `http://host/path` or `//host/path`, with its path.
    WithHost(&'a str),
    /// `/path`.
    FromHost(&'a str),
    /// `path`.
    Relative,
    /// `file:`, `data:` and the like.
    OtherScheme,
}

impl<'a> UrlForm<'a> {
    fn of(address: &'a str) -> Self {
        let lower = address.get(..8).unwrap_or(address).to_ascii_lowercase();
        let scheme = ["http://", "https://", "//"].into_iter().find(|scheme| lower.starts_with(scheme));
        if let Some(scheme) = scheme {
            let rest = address.get(scheme.len()..).unwrap_or_default();
            let path = rest.find(['/', '?', '#']).and_then(|at| rest.get(at..)).unwrap_or_default();
            return Self::WithHost(path);
        }
        let before_path = address.split(['/', '?', '#']).next().unwrap_or_default();
        // Clients skip these (URL Standard, URL parsing), so that another URL is read than is written.
        let is_read_differently =
            address.starts_with(|first: char| first <= ' ') || address.contains(['\t', '\n', '\r']);
        match address.bytes().next() {
            _ if is_read_differently => Self::OtherScheme,
            Some(b'/') => Self::FromHost(address),
            // A backslash is a slash to browsers.
            _ if before_path.contains(':') || address.contains('\\') => Self::OtherScheme,
            _ => Self::Relative,
        }
    }
}

/// The part of `path` that names a resource which the gateway serves, whatever root it stands below.
fn servable(path: &str) -> Option<&str> {
    let resources = path.match_indices("/studies").filter_map(|(at, _)| path.get(at + 1..));
    let resources = resources.map(|resource| resource.strip_suffix('/').unwrap_or(resource));
    let mut resources = resources.filter(|resource| Resource::parse(resource).is_ok());
    resources.next()
}

/// Whether a relative reference leaves the folder that it starts from.
fn climbs(reference: &str) -> bool {
    reference.split('/').any(|segment| segment == "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> UrlMap {
        let root = Url::parse("http://10.0.0.7:8042/dicom-web/").unwrap();
        UrlMap::new(
            "https://gw.example/x/dicom-web/main/",
            &root,
            &root,
            "studies/1.2/series/1.3/instances/1.4/metadata",
        )
    }

    fn ours(path: &str) -> UrlRewrite {
        UrlRewrite::Rewritten(format!("https://gw.example/x/dicom-web/main{path}"))
    }

    #[test]
    fn every_spelling_of_the_archive_becomes_ours() {
        for (spelled, path) in [
            ("http://10.0.0.7:8042/dicom-web", ""),
            ("http://10.0.0.7:8042/dicom-web/studies/1.2", "/studies/1.2"),
            ("http://10.0.0.7:8042/dicom-web/any/thing", "/any/thing"),
            ("HTTP://OTHER/dicom-web/studies/1.2", "/studies/1.2"),
            ("https://inner:8042/pacs/rs/studies/1.2/series/1.3", "/studies/1.2/series/1.3"),
            ("//inner/studies/1.2", "/studies/1.2"),
            ("/dicom-web/studies/1.2", "/studies/1.2"),
            (
                "http://healthcare.example/v1/projects/studies/dicomWeb/studies/1.2/series/1.3/instances/1.4/bulkdata/7FE00010",
                "/studies/1.2/series/1.3/instances/1.4/bulkdata/7FE00010",
            ),
            ("./frames", "/studies/1.2/series/1.3/instances/1.4/frames"),
            ("../../instances/1.5/bulkdata/1", ""),
        ] {
            let expected = if spelled.starts_with("../..") {
                ours("/studies/1.2/series/1.3/instances/1.5/bulkdata/1")
            } else {
                ours(path)
            };
            assert_eq!(addresses().rewrite(spelled), expected, "{spelled}");
        }
    }

    #[test]
    fn what_leads_elsewhere_is_dropped() {
        for foreign in [
            "http://169.254.169.254/latest/meta-data",
            "http://10.0.0.7:8042/app/explorer.html",
            "http://10.0.0.7:8042/dicom-webx/y",
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
            assert_eq!(addresses().rewrite(foreign), UrlRewrite::Dropped, "{foreign}");
        }
    }

    #[test]
    fn what_names_no_host_may_stay() {
        for same in ["", "frame-1.bin", "./bulk data"] {
            assert_eq!(addresses().rewrite(same), UrlRewrite::Unchanged, "{same}");
        }
    }

    #[test]
    fn addresses_in_a_text_are_touched_only_when_they_are_the_archives() {
        let addresses = addresses();
        assert_eq!(
            addresses.rewrite_in_text("http://10.0.0.7:8042/dicom-web/studies/1.2"),
            ours("/studies/1.2")
        );
        assert_eq!(addresses.rewrite_in_text("http://10.0.0.7:8042/app"), UrlRewrite::Dropped);
        assert_eq!(addresses.rewrite_in_text("http://u@10.0.0.7:8042/app"), UrlRewrite::Dropped);
        assert_eq!(addresses.rewrite_in_text("http://dicom.nema.org/PS3.19"), UrlRewrite::Unchanged);
        assert_eq!(addresses.rewrite_in_text("file:///etc/passwd"), UrlRewrite::Unchanged);
    }
}

//! An HTML page for browsers: the resource as indented, highlighted JSON with working links. No scripts, images or external
//! resources; everything that an archive wrote is escaped.

use std::fmt::Write;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use sha2::{Digest, Sha256};

use crate::http::query;
use fhir_r4::id::is_id;
use fhir_r4::json::Json;
use fhir_r4::search::ResourceType;

const STYLE: &str = include_str!("html/style.css");

/// Lets a browser apply the page's style and nothing else, whatever the page contains.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    // Base64 is valid in a header.
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// The Content-Security-Policy of every page.
pub(super) fn policy() -> HeaderValue {
    POLICY.clone()
}

/// The URL of a page, from which its links are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PageLocation {
    /// The base URL of the FHIR API, without a trailing slash.
    base: String,
    /// The parameters of the request, except those that choose a format.
    query: String,
}

impl PageLocation {
    /// The location of a request with these parameters to the FHIR API at `base`.
    pub(super) fn new(base: String, pairs: &[(String, String)]) -> Self {
        let others = pairs.iter().filter(|(name, _)| !matches!(name.as_str(), "_format" | "_pretty"));
        let query = query::encode(others.map(|(name, value)| (name.as_str(), value.as_str())));
        Self { base, query }
    }

    /// The same resource in another format, as a link relative to the page.
    fn url_in_format(&self, format: &str) -> String {
        let and = if self.query.is_empty() { "" } else { "&" };
        format!("?{}{and}_format={format}", self.query)
    }

    /// The URL that a member's text links to, if it is a resource of this server.
    fn target(&self, name: &str, text: &str) -> Option<String> {
        // A search of all types has its parameters directly after the base.
        if text.strip_prefix(&self.base).is_some_and(|rest| rest.starts_with(['/', '?'])) {
            return Some(text.to_owned());
        }
        let (kind, id) = text.split_once('/').filter(|_| name == "reference")?;
        (is_id(id) && ResourceType::parse(kind).is_some()).then(|| format!("{}/{text}", self.base))
    }
}

/// The page for the resource in `json`; without a location it has no links. `None` if `json` is not a resource.
pub(super) fn render_page(json: &str, location: Option<&PageLocation>) -> Option<String> {
    let resource = Json::parse(json).ok()?;
    let kind = resource.get("resourceType")?.as_text()?;
    let mut page = HtmlPage { html: String::with_capacity(json.len() * 4 + 8 * 1024), location };
    page.head(kind, &resource);
    page.html.push_str("<main>");
    match kind {
        "OperationOutcome" => page.issues(&resource),
        "Bundle" => page.entries(&resource),
        _ => {}
    }
    page.html.push_str("<pre>");
    page.value("", &resource, 0);
    page.html.push_str("</pre></main></body></html>\n");
    Some(page.html)
}

struct HtmlPage<'a> {
    html: String,
    location: Option<&'a PageLocation>,
}

impl HtmlPage<'_> {
    fn head(&mut self, kind: &str, resource: &Json<'_>) {
        let id = resource.get("id").and_then(Json::as_text).unwrap_or_default();
        let heading = if is_search(resource) { "Search" } else { kind };
        self.html.push_str(
            "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>",
        );
        self.text(&[heading, " ", id].concat());
        self.html.push_str("</title><style>");
        self.html.push_str(STYLE);
        self.html.push_str("</style></head><body><header><nav><strong>dicomweb-gateway</strong>");
        if let Some(location) = self.location {
            for path in ["metadata", "ImagingStudy", "Patient", "Endpoint"] {
                self.link(&[&location.base, "/", path].concat(), path);
            }
        }
        self.html.push_str("</nav><h1>");
        self.text(heading);
        if !id.is_empty() {
            self.html.push_str(" <small>");
            self.text(id);
            self.html.push_str("</small>");
        }
        self.html.push_str("</h1>");
        if let Some(facts) = facts(kind, resource) {
            self.html.push_str("<p>");
            self.text(&facts);
            self.html.push_str("</p>");
        }
        self.buttons(resource);
        self.html.push_str("</header>");
    }

    /// Links to the other pages of a Bundle, and to the machine-readable formats.
    fn buttons(&mut self, resource: &Json<'_>) {
        let Some(location) = self.location else { return };
        self.html.push_str("<ul class=\"buttons\">");
        let links = resource.get("link").map_or(&[][..], Json::items);
        for (relation, label) in [("first", "First"), ("previous", "Previous"), ("next", "Next")] {
            let is_it = |link: &&Json<'_>| link.get("relation").and_then(Json::as_text) == Some(relation);
            let url = links.iter().find(is_it).and_then(|link| link.get("url")?.as_text());
            if let Some(url) = url.and_then(|url| location.target("url", url)) {
                self.html.push_str("<li>");
                self.link(&url, label);
            }
        }
        self.html.push_str("<li class=\"apart\">");
        self.link(&location.url_in_format("json"), "JSON");
        self.html.push_str("<li>");
        self.link(&location.url_in_format("xml"), "XML");
        self.html.push_str("</ul>");
    }

    /// The issues, shown before the JSON.
    fn issues(&mut self, outcome: &Json<'_>) {
        self.html.push_str("<ul class=\"issues\">");
        for issue in outcome.get("issue").map_or(&[][..], Json::items) {
            let text = |name| issue.get(name).and_then(Json::as_text).unwrap_or_default();
            self.html.push_str("<li class=\"");
            self.text(text("severity"));
            self.html.push_str("\">");
            self.text(text("diagnostics"));
            self.html.push_str(" <code>");
            self.text(text("code"));
            for location in issue.get("expression").map_or(&[][..], Json::items) {
                self.html.push(' ');
                self.text(location.as_text().unwrap_or_default());
            }
            self.html.push_str("</code>");
        }
        self.html.push_str("</ul>");
    }

    /// The entries of a Bundle, one line per resource, after the issues of the search.
    fn entries(&mut self, bundle: &Json<'_>) {
        let entries = bundle.get("entry").map_or(&[][..], Json::items).iter();
        let resources = entries.filter_map(|entry| Some((entry, entry.get("resource")?)));
        let is_outcome = |(_, resource): &(_, &Json<'_>)| {
            resource.get("resourceType").and_then(Json::as_text) == Some("OperationOutcome")
        };
        let (outcomes, resources): (Vec<_>, Vec<_>) = resources.partition(is_outcome);
        for (_, outcome) in outcomes {
            self.issues(outcome);
        }
        if resources.is_empty() {
            return;
        }
        self.html.push_str("<ol class=\"entries\">");
        for (entry, resource) in resources {
            let text = |name| resource.get(name).and_then(Json::as_text).unwrap_or_default();
            let kind = text("resourceType");
            self.html.push_str("<li>");
            let url = entry.get("fullUrl").and_then(Json::as_text);
            match url.and_then(|url| self.location?.target("fullUrl", url)) {
                Some(url) => self.link(&url, &[kind, "/", text("id")].concat()),
                None => self.text(kind),
            }
            self.html.push_str(" <span>");
            self.text(&words(resource));
            self.html.push_str("</span>");
        }
        self.html.push_str("</ol>");
    }

    /// A member's value, indented. Element names are short, because a study has a hundred thousand of them: `b` is a name, `i`
    /// a string, `u` any other value.
    fn value(&mut self, name: &str, json: &Json<'_>, depth: usize) {
        match json {
            Json::Object(members) => self.list(members, ('{', '}'), depth, |page, (name, value)| {
                page.html.push_str("<b>");
                page.quoted(name);
                page.html.push_str("</b>: ");
                page.value(name, value, depth + 1);
            }),
            Json::Array(items) => {
                self.list(items, ('[', ']'), depth, |page, item| page.value(name, item, depth + 1));
            }
            Json::Text(text) => {
                self.html.push_str("<i>");
                match self.location.and_then(|location| location.target(name, text)) {
                    Some(url) => {
                        self.html.push_str("<a href=\"");
                        self.text(&url);
                        self.html.push_str("\">");
                        self.quoted(text);
                        self.html.push_str("</a>");
                    }
                    None => self.quoted(text),
                }
                self.html.push_str("</i>");
            }
            Json::Literal(word) => {
                self.html.push_str("<u>");
                self.text(word);
                self.html.push_str("</u>");
            }
        }
    }

    fn list<T>(
        &mut self,
        all: &[T],
        (begin, end): (char, char),
        depth: usize,
        mut one: impl FnMut(&mut Self, &T),
    ) {
        self.html.push(begin);
        for (index, item) in all.iter().enumerate() {
            self.html.push_str(if index == 0 { "\n" } else { ",\n" });
            self.html.extend(std::iter::repeat_n("  ", depth + 1));
            one(self, item);
        }
        if !all.is_empty() {
            self.html.push('\n');
            self.html.extend(std::iter::repeat_n("  ", depth));
        }
        self.html.push(end);
    }

    fn link(&mut self, url: &str, label: &str) {
        self.html.push_str("<a href=\"");
        self.text(url);
        self.html.push_str("\">");
        self.text(label);
        self.html.push_str("</a>");
    }

    /// As written in JSON, so that text copied from the page is JSON.
    fn quoted(&mut self, text: &str) {
        // A string can always be serialized.
        self.text(&serde_json::to_string(text).unwrap_or_default());
    }

    /// Text escaped so that no browser interprets it, in attributes with either quotation mark. White space and control characters
    /// stay as they are; `xml_escape` replaces them, and leaves apostrophes.
    fn text(&mut self, text: &str) {
        let mut rest = text;
        while let Some(at) = rest.find(['&', '<', '>', '"', '\'']) {
            let (plain, special) = rest.split_at(at);
            self.html.push_str(plain);
            let mut characters = special.chars();
            // Writing to a string cannot fail.
            let _ = characters.next().map_or(Ok(()), |one| write!(self.html, "&#{};", u32::from(one)));
            rest = characters.as_str();
        }
        self.html.push_str(rest);
    }
}

fn is_search(resource: &Json<'_>) -> bool {
    resource.get("type").and_then(Json::as_text) == Some("searchset")
}

/// A summary of the resource, shown before the JSON.
fn facts(kind: &str, resource: &Json<'_>) -> Option<String> {
    let word = |json: Option<&Json<'_>>| match json {
        Some(Json::Literal(word)) => Some((*word).to_owned()),
        Some(Json::Text(text)) => Some(text.to_string()),
        _ => None,
    };
    match kind {
        "Bundle" if is_search(resource) => {
            let entries = resource.get("entry").map_or(&[][..], Json::items);
            let mode_of = |entry: &Json<'_>| {
                let mode = entry.get("search").and_then(|search| search.get("mode")?.as_text());
                mode.unwrap_or("match").to_owned()
            };
            let count = |mode: &str| entries.iter().filter(|entry| mode_of(entry) == mode).count();
            let here = count("match");
            let total = word(resource.get("total")).map(|total| format!("{total} in total, "));
            let more = Some(count("include")).filter(|more| *more > 0);
            let more = more.map(|more| format!(", {more} included"));
            Some(
                [total.unwrap_or_default(), format!("{here} on this page"), more.unwrap_or_default()]
                    .concat(),
            )
        }
        "CapabilityStatement" => {
            let software = resource.get("software")?;
            let of = |name| word(software.get(name)).unwrap_or_default();
            let version = word(resource.get("fhirVersion")).unwrap_or_default();
            Some(format!("{} {}, FHIR {version}", of("name"), of("version")))
        }
        _ => None,
    }
}

/// A human-readable description of a resource. A Patient without a name is described by the identifier.
fn words(resource: &Json<'_>) -> String {
    let all = |json: Option<&Json<'_>>, name| {
        let items = json.map_or(&[][..], Json::items).iter();
        items.filter_map(|item| item.get(name)?.as_text().map(str::to_owned)).collect::<Vec<_>>()
    };
    let mut words = all(resource.get("name"), "text");
    if words.is_empty() && resource.get("resourceType").and_then(Json::as_text) == Some("Patient") {
        words.push("no name".to_owned());
        words.extend(all(resource.get("identifier"), "value"));
    }
    for name in ["name", "birthDate", "gender", "started"] {
        words.extend(resource.get(name).and_then(Json::as_text).map(str::to_owned));
    }
    words.extend(Some(all(resource.get("modality"), "code").join(", ")).filter(|codes| !codes.is_empty()));
    words.extend(resource.get("description").and_then(Json::as_text).map(str::to_owned));
    words.join(" · ")
}

#[cfg(test)]
mod tests;

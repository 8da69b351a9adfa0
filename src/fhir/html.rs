//! Renders a resource as an HTML page for browsers: indented, highlighted JSON with links. The page has no scripts, no images and
//! no external resources. All text from archives is escaped.

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

/// Allows a browser to apply the style sheet of the page, and to load or run nothing else.
static CONTENT_SECURITY_POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    // The policy consists of characters that are valid in a header.
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// Returns the Content-Security-Policy of every page.
pub(super) fn content_security_policy() -> HeaderValue {
    CONTENT_SECURITY_POLICY.clone()
}

/// The parts of the URL of a page that its links need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PageLocation {
    /// The base URL of the FHIR API, without a trailing slash.
    base: String,
    /// The parameters of the request, except those that select a format.
    query: String,
}

impl PageLocation {
    /// Creates the location of a request with the parameters `pairs` to the FHIR API at `base`.
    pub(super) fn new(base: String, pairs: &[(String, String)]) -> Self {
        let others = pairs.iter().filter(|(name, _)| !matches!(name.as_str(), "_format" | "_pretty"));
        let query = query::encode(others.map(|(name, value)| (name.as_str(), value.as_str())));
        Self { base, query }
    }

    /// Returns the URL of the same resource in another format, indented, relative to the page.
    fn url_in_format(&self, format: &str) -> String {
        let separator = if self.query.is_empty() { "" } else { "&" };
        format!("?{}{separator}_format={format}&_pretty=true", self.query)
    }

    /// Returns the URL that the text of the member `name` links to, if the text refers to a resource of this server.
    fn link_target(&self, name: &str, text: &str) -> Option<String> {
        // A search of all types has its parameters directly after the base.
        if text.strip_prefix(&self.base).is_some_and(|rest| rest.starts_with(['/', '?'])) {
            return Some(text.to_owned());
        }
        let (kind, id) = text.split_once('/').filter(|_| name == "reference")?;
        (is_id(id) && ResourceType::parse(kind).is_some()).then(|| format!("{}/{text}", self.base))
    }
}

/// Renders the page of the resource in `json`, without links if there is no location, and with `warning` above the resource. Returns
/// `None` if `json` is not a resource.
pub(super) fn render_page(
    json: &str,
    location: Option<&PageLocation>,
    warning: Option<&str>,
) -> Option<String> {
    let resource = Json::parse(json).ok()?;
    let kind = resource.get("resourceType")?.as_text()?;
    let mut page = HtmlPage { html: String::with_capacity(json.len() * 4 + 8 * 1024), location };
    page.write_head(kind, &resource);
    page.html.push_str("<main>");
    if let Some(warning) = warning {
        page.html.push_str("<ul class=\"issues\"><li class=\"warning\">");
        page.write_text(warning);
        page.html.push_str("</ul>");
    }
    match kind {
        "OperationOutcome" => page.write_issues(&resource),
        "Bundle" => page.write_entries(&resource),
        _ => {}
    }
    page.html.push_str("<pre>");
    page.write_value("", &resource, 0);
    page.html.push_str("</pre></main></body></html>\n");
    Some(page.html)
}

/// A page while it is written.
struct HtmlPage<'a> {
    html: String,
    location: Option<&'a PageLocation>,
}

impl HtmlPage<'_> {
    /// Writes the part of the page before the resource.
    fn write_head(&mut self, kind: &str, resource: &Json<'_>) {
        let id = resource.get("id").and_then(Json::as_text).unwrap_or_default();
        let heading = if is_search(resource) { "Search" } else { kind };
        self.html.push_str(
            "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>",
        );
        self.write_text(&[heading, " ", id].concat());
        self.html.push_str("</title><style>");
        self.html.push_str(STYLE);
        self.html.push_str("</style></head><body><header><nav><strong>dicomweb-gateway</strong>");
        if let Some(location) = self.location {
            for path in ["metadata", "ImagingStudy", "Patient", "Endpoint"] {
                self.write_link(&[&location.base, "/", path].concat(), path);
            }
        }
        self.html.push_str("</nav><h1>");
        self.write_text(heading);
        if !id.is_empty() {
            self.html.push_str(" <small>");
            self.write_text(id);
            self.html.push_str("</small>");
        }
        self.html.push_str("</h1>");
        if let Some(summary) = summarize(kind, resource) {
            self.html.push_str("<p>");
            self.write_text(&summary);
            self.html.push_str("</p>");
        }
        self.write_buttons(resource);
        self.html.push_str("</header>");
    }

    /// Writes links to the other pages of a Bundle, to the studies of a Patient, and to the machine-readable formats.
    fn write_buttons(&mut self, resource: &Json<'_>) {
        let Some(location) = self.location else { return };
        self.html.push_str("<ul class=\"buttons\">");
        let links = resource.get("link").map_or(&[][..], Json::items);
        for (relation, label) in [("first", "First"), ("previous", "Previous"), ("next", "Next")] {
            let has_relation =
                |link: &&Json<'_>| link.get("relation").and_then(Json::as_text) == Some(relation);
            let url = links.iter().find(has_relation).and_then(|link| link.get("url")?.as_text());
            if let Some(url) = url.and_then(|url| location.link_target("url", url)) {
                self.html.push_str("<li>");
                self.write_link(&url, label);
            }
        }
        let id = resource.get("id").and_then(Json::as_text).filter(|id| is_id(id));
        if let Some(id) = id
            && resource.get("resourceType").and_then(Json::as_text) == Some(ResourceType::Patient.name())
        {
            self.html.push_str("<li>");
            self.write_link(&[&location.base, "/ImagingStudy?patient=", id].concat(), "Studies");
        }
        self.html.push_str("<li class=\"apart\">");
        self.write_link(&location.url_in_format("json"), "JSON");
        self.html.push_str("<li>");
        // A browser saves application/fhir+xml as a file.
        self.write_link(&location.url_in_format("application/xml"), "XML");
        self.html.push_str("</ul>");
    }

    /// Writes the issues of an OperationOutcome as a list.
    fn write_issues(&mut self, outcome: &Json<'_>) {
        self.html.push_str("<ul class=\"issues\">");
        for issue in outcome.get("issue").map_or(&[][..], Json::items) {
            let text = |name| issue.get(name).and_then(Json::as_text).unwrap_or_default();
            self.html.push_str("<li class=\"");
            self.write_text(text("severity"));
            self.html.push_str("\">");
            self.write_text(text("diagnostics"));
            self.html.push_str(" <code>");
            self.write_text(text("code"));
            for expression in issue.get("expression").map_or(&[][..], Json::items) {
                self.html.push(' ');
                self.write_text(expression.as_text().unwrap_or_default());
            }
            self.html.push_str("</code>");
        }
        self.html.push_str("</ul>");
    }

    /// Writes the issues of a search, and the entries of the Bundle with one line per resource.
    fn write_entries(&mut self, bundle: &Json<'_>) {
        let entries = bundle.get("entry").map_or(&[][..], Json::items).iter();
        let resources = entries.filter_map(|entry| Some((entry, entry.get("resource")?)));
        let is_outcome = |(_, resource): &(_, &Json<'_>)| {
            resource.get("resourceType").and_then(Json::as_text) == Some("OperationOutcome")
        };
        let (outcomes, resources): (Vec<_>, Vec<_>) = resources.partition(is_outcome);
        for (_, outcome) in outcomes {
            self.write_issues(outcome);
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
            match url.and_then(|url| self.location?.link_target("fullUrl", url)) {
                Some(url) => self.write_link(&url, &[kind, "/", text("id")].concat()),
                None => self.write_text(kind),
            }
            self.html.push_str(" <span>");
            self.write_text(&describe(resource));
            self.html.push_str("</span>");
        }
        self.html.push_str("</ol>");
    }

    /// Writes the value of a member, indented. The tags are short, because the page of a study may contain a hundred thousand of
    /// them: `b` is a name, `i` a string, `u` any other value.
    fn write_value(&mut self, name: &str, json: &Json<'_>, depth: usize) {
        match json {
            Json::Object(members) => self.write_list(members, ('{', '}'), depth, |page, (name, value)| {
                page.html.push_str("<b>");
                page.write_json_string(name);
                page.html.push_str("</b>: ");
                page.write_value(name, value, depth + 1);
            }),
            Json::Array(items) => {
                self.write_list(items, ('[', ']'), depth, |page, item| {
                    page.write_value(name, item, depth + 1);
                });
            }
            Json::Text(text) => {
                self.html.push_str("<i>");
                match self.location.and_then(|location| location.link_target(name, text)) {
                    Some(url) => {
                        self.html.push_str("<a href=\"");
                        self.write_text(&url);
                        self.html.push_str("\">");
                        self.write_json_string(text);
                        self.html.push_str("</a>");
                    }
                    None => self.write_json_string(text),
                }
                self.html.push_str("</i>");
            }
            Json::Literal(literal) => {
                self.html.push_str("<u>");
                self.write_text(literal);
                self.html.push_str("</u>");
            }
        }
    }

    /// Writes the items of an array or object on separate lines.
    fn write_list<T>(
        &mut self,
        items: &[T],
        (opening, closing): (char, char),
        depth: usize,
        mut write_item: impl FnMut(&mut Self, &T),
    ) {
        self.html.push(opening);
        for (index, item) in items.iter().enumerate() {
            self.html.push_str(if index == 0 { "\n" } else { ",\n" });
            self.html.extend(std::iter::repeat_n("  ", depth + 1));
            write_item(self, item);
        }
        if !items.is_empty() {
            self.html.push('\n');
            self.html.extend(std::iter::repeat_n("  ", depth));
        }
        self.html.push(closing);
    }

    fn write_link(&mut self, url: &str, label: &str) {
        self.html.push_str("<a href=\"");
        self.write_text(url);
        self.html.push_str("\">");
        self.write_text(label);
        self.html.push_str("</a>");
    }

    /// Writes a JSON string with its quotation marks and escapes, so that text copied from the page is JSON.
    fn write_json_string(&mut self, text: &str) {
        // A string can always be serialized.
        self.write_text(&serde_json::to_string(text).unwrap_or_default());
    }

    /// Writes text, escaped for element content and for attribute values in either kind of quotation marks. `xml_escape` cannot be
    /// used, because it replaces white space and control characters, and does not escape apostrophes.
    fn write_text(&mut self, text: &str) {
        let mut rest = text;
        while let Some(index) = rest.find(['&', '<', '>', '"', '\'']) {
            let (unescaped, from_special) = rest.split_at(index);
            self.html.push_str(unescaped);
            let mut characters = from_special.chars();
            // Writing to a string cannot fail.
            let _ =
                characters.next().map_or(Ok(()), |special| write!(self.html, "&#{};", u32::from(special)));
            rest = characters.as_str();
        }
        self.html.push_str(rest);
    }
}

/// Whether the resource is a page of a search.
fn is_search(resource: &Json<'_>) -> bool {
    resource.get("type").and_then(Json::as_text) == Some("searchset")
}

/// Summarizes a search page or the CapabilityStatement. Other resources have no summary.
fn summarize(kind: &str, resource: &Json<'_>) -> Option<String> {
    let to_text = |json: Option<&Json<'_>>| match json {
        Some(Json::Literal(literal)) => Some((*literal).to_owned()),
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
            let match_count = count("match");
            let total = to_text(resource.get("total")).map(|total| format!("{total} in total, "));
            let include_count = Some(count("include")).filter(|count| *count > 0);
            let included = include_count.map(|count| format!(", {count} included"));
            let matches = format!("{match_count} on this page");
            Some([total.unwrap_or_default(), matches, included.unwrap_or_default()].concat())
        }
        "CapabilityStatement" => {
            let software = resource.get("software")?;
            let member = |name| to_text(software.get(name)).unwrap_or_default();
            let fhir_version = to_text(resource.get("fhirVersion")).unwrap_or_default();
            Some(format!("{} {}, FHIR {fhir_version}", member("name"), member("version")))
        }
        _ => None,
    }
}

/// Describes a resource for human readers. A Patient without a name is described by the identifiers.
fn describe(resource: &Json<'_>) -> String {
    let texts = |json: Option<&Json<'_>>, name| {
        let items = json.map_or(&[][..], Json::items).iter();
        items.filter_map(|item| item.get(name)?.as_text().map(str::to_owned)).collect::<Vec<_>>()
    };
    let mut parts = texts(resource.get("name"), "text");
    if parts.is_empty() && resource.get("resourceType").and_then(Json::as_text) == Some("Patient") {
        parts.push("no name".to_owned());
        parts.extend(texts(resource.get("identifier"), "value"));
    }
    for name in ["name", "birthDate", "gender", "started"] {
        parts.extend(resource.get(name).and_then(Json::as_text).map(str::to_owned));
    }
    parts.extend(Some(texts(resource.get("modality"), "code").join(", ")).filter(|codes| !codes.is_empty()));
    parts.extend(resource.get("description").and_then(Json::as_text).map(str::to_owned));
    if parts.is_empty() && resource.get("resourceType").and_then(Json::as_text) == Some("ImagingStudy") {
        parts.push("study without description".to_owned());
    }
    parts.join(" · ")
}

#[cfg(test)]
mod tests;

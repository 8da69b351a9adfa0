//! Writes Bundles (R4 bundle.html) of resources that are already serialized: search pages, batch responses, histories.

use std::io::Write;

use bytes::Bytes;
use http::StatusCode;

use fhir_r4::search::ResourceType;

/// The reason why a resource is in the Bundle (R4 valueset-search-entry-mode).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Mode {
    /// The resource matches the search.
    Match,
    /// The resource was requested by `_include` or `_revinclude`.
    Include,
    /// The resource is an OperationOutcome about the search itself.
    Outcome,
}

impl Mode {
    /// Returns the code of the mode.
    fn code(self) -> &'static str {
        match self {
            Self::Match => "match",
            Self::Include => "include",
            Self::Outcome => "outcome",
        }
    }
}

/// An entry of a search page. The resource is serialized JSON, which is copied into the Bundle.
#[derive(Debug, Clone)]
pub(super) struct SearchEntry {
    /// Absolute URL, `[base]/[type]/[id]`; an OperationOutcome has none.
    pub(super) full_url: Option<String>,
    pub(super) resource: Bytes,
    pub(super) mode: Mode,
}

impl SearchEntry {
    /// Creates an entry for a resource of this server.
    pub(super) fn new(base: &str, kind: ResourceType, id: &str, resource: Bytes, mode: Mode) -> Self {
        Self { full_url: Some(format!("{base}/{kind}/{id}")), resource, mode }
    }
}

/// A page of a search.
#[derive(Debug, Default)]
pub(super) struct Searchset {
    /// The number of matches on all pages, if it is known exactly.
    pub(super) total: Option<usize>,
    /// For a search by `_lastUpdated`: the time to use in the next such search.
    pub(super) last_updated: Option<String>,
    /// The relations (self, first, previous, next) and their URLs.
    pub(super) links: Vec<(&'static str, String)>,
    pub(super) entries: Vec<SearchEntry>,
}

impl Searchset {
    /// Writes the Bundle as JSON.
    pub(super) fn to_json(&self) -> Vec<u8> {
        // About 300 bytes per entry in addition to its resource.
        let size = self.entries.iter().map(|entry| entry.resource.len() + 300).sum::<usize>();
        let mut json = Vec::with_capacity(size + 1024);
        json.extend_from_slice(br#"{"resourceType":"Bundle""#);
        if let Some(instant) = &self.last_updated {
            json.extend_from_slice(br#","meta":{"lastUpdated":"#);
            write_string(&mut json, instant);
            json.push(b'}');
        }
        json.extend_from_slice(br#","type":"searchset""#);
        if let Some(total) = self.total {
            json.extend_from_slice(b",\"total\":");
            json.extend_from_slice(total.to_string().as_bytes());
        }
        json.extend_from_slice(b",\"link\":[");
        for (index, (relation, url)) in self.links.iter().enumerate() {
            json.extend_from_slice(if index == 0 { b"{\"relation\":\"" } else { b",{\"relation\":\"" });
            json.extend_from_slice(relation.as_bytes());
            json.extend_from_slice(b"\",\"url\":");
            write_string(&mut json, url);
            json.push(b'}');
        }
        json.push(b']');
        // FHIR forbids empty arrays (R4 json#arrays).
        if !self.entries.is_empty() {
            json.extend_from_slice(b",\"entry\":[");
            for (index, entry) in self.entries.iter().enumerate() {
                json.extend_from_slice(if index == 0 { b"{" } else { b",{" });
                if let Some(full_url) = &entry.full_url {
                    json.extend_from_slice(b"\"fullUrl\":");
                    write_string(&mut json, full_url);
                    json.push(b',');
                }
                json.extend_from_slice(b"\"resource\":");
                json.extend_from_slice(&entry.resource);
                json.extend_from_slice(b",\"search\":{\"mode\":\"");
                json.extend_from_slice(entry.mode.code().as_bytes());
                json.extend_from_slice(b"\"}}");
            }
            json.push(b']');
        }
        json.push(b'}');
        json
    }
}

/// The response to an entry of a batch.
#[derive(Debug)]
pub(super) struct BatchEntry {
    pub(super) full_url: Option<String>,
    pub(super) status: StatusCode,
    pub(super) etag: Option<String>,
    /// The time of the last change, as a FHIR instant.
    pub(super) last_modified: Option<String>,
    /// The OperationOutcome of a failed entry.
    pub(super) outcome: Option<Bytes>,
    pub(super) resource: Option<Bytes>,
}

/// Writes a Bundle of type batch-response as JSON.
pub(super) fn write_batch_response(entries: &[BatchEntry]) -> Vec<u8> {
    let size = entries.iter().filter_map(|entry| entry.resource.as_ref()).map(Bytes::len).sum::<usize>();
    // About 400 bytes per entry in addition to its resource.
    let mut json = Vec::with_capacity(size + entries.len() * 400 + 100);
    json.extend_from_slice(br#"{"resourceType":"Bundle","type":"batch-response""#);
    for (index, entry) in entries.iter().enumerate() {
        json.extend_from_slice(if index == 0 { b",\"entry\":[{" } else { b",{" });
        if let Some(full_url) = &entry.full_url {
            json.extend_from_slice(b"\"fullUrl\":");
            write_string(&mut json, full_url);
            json.push(b',');
        }
        if let Some(resource) = &entry.resource {
            json.extend_from_slice(b"\"resource\":");
            json.extend_from_slice(resource);
            json.push(b',');
        }
        json.extend_from_slice(b"\"response\":{\"status\":");
        write_string(&mut json, &entry.status.to_string());
        if let Some(etag) = &entry.etag {
            json.extend_from_slice(b",\"etag\":");
            write_string(&mut json, etag);
        }
        if let Some(instant) = &entry.last_modified {
            json.extend_from_slice(b",\"lastModified\":");
            write_string(&mut json, instant);
        }
        if let Some(outcome) = &entry.outcome {
            json.extend_from_slice(b",\"outcome\":");
            json.extend_from_slice(outcome);
        }
        json.extend_from_slice(b"}}");
    }
    json.extend_from_slice(if entries.is_empty() { b"}" } else { b"]}" });
    json
}

/// The only version in the history of an instance.
#[derive(Debug)]
pub(super) struct HistoryEntry<'a> {
    pub(super) full_url: &'a str,
    pub(super) resource: &'a Bytes,
    /// The URL of the resource, relative to the base URL.
    pub(super) url: &'a str,
    pub(super) etag: &'a str,
    /// The time of the last change, as a FHIR instant.
    pub(super) last_modified: Option<&'a str>,
}

/// Writes a Bundle of type history as JSON. The entry contains the request that would have created this version, and the
/// response to it (R4 bundle.html, bdl-3 and bdl-4).
pub(super) fn write_history(total: usize, self_url: &str, entry: Option<&HistoryEntry<'_>>) -> Vec<u8> {
    let mut json = Vec::with_capacity(entry.map_or(0, |entry| entry.resource.len()) + 1024);
    json.extend_from_slice(br#"{"resourceType":"Bundle","type":"history","total":"#);
    json.extend_from_slice(total.to_string().as_bytes());
    json.extend_from_slice(br#","link":[{"relation":"self","url":"#);
    write_string(&mut json, self_url);
    json.extend_from_slice(b"}]");
    if let Some(entry) = entry {
        json.extend_from_slice(br#","entry":[{"fullUrl":"#);
        write_string(&mut json, entry.full_url);
        json.extend_from_slice(b",\"resource\":");
        json.extend_from_slice(entry.resource);
        json.extend_from_slice(br#","request":{"method":"PUT","url":"#);
        write_string(&mut json, entry.url);
        json.extend_from_slice(br#"},"response":{"status":"200 OK","etag":"#);
        write_string(&mut json, entry.etag);
        if let Some(instant) = entry.last_modified {
            json.extend_from_slice(b",\"lastModified\":");
            write_string(&mut json, instant);
        }
        json.extend_from_slice(b"}}]");
    }
    json.push(b'}');
    json
}

/// Writes a JSON string with its quotation marks and escapes.
fn write_string(json: &mut Vec<u8>, text: &str) {
    // Writing a string into a vector cannot fail. If it did, the empty string would keep the JSON valid.
    if serde_json::to_writer(&mut *json, text).is_err() {
        let _ = json.write_all(b"\"\"");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(searchset: &Searchset) -> serde_json::Value {
        serde_json::from_slice(&searchset.to_json()).unwrap()
    }

    #[test]
    fn the_responses_of_a_batch_are_in_the_order_of_its_entries() {
        let found = BatchEntry {
            full_url: Some("http://h/fhir/Patient/a".to_owned()),
            status: StatusCode::OK,
            etag: Some("W/\"1\"".to_owned()),
            last_modified: Some("2024-05-05T10:00:00Z".to_owned()),
            outcome: None,
            resource: Some(Bytes::from_static(br#"{"resourceType":"Patient"}"#)),
        };
        let missing = BatchEntry {
            full_url: None,
            status: StatusCode::NOT_FOUND,
            etag: None,
            last_modified: None,
            outcome: Some(Bytes::from_static(br#"{"resourceType":"OperationOutcome"}"#)),
            resource: None,
        };
        let bundle: serde_json::Value =
            serde_json::from_slice(&write_batch_response(&[found, missing])).unwrap();
        assert_eq!(
            bundle,
            serde_json::json!({
                "resourceType": "Bundle", "type": "batch-response",
                "entry": [
                    {"fullUrl": "http://h/fhir/Patient/a", "resource": {"resourceType": "Patient"},
                     "response": {"status": "200 OK", "etag": "W/\"1\"", "lastModified": "2024-05-05T10:00:00Z"}},
                    {"response": {"status": "404 Not Found", "outcome": {"resourceType": "OperationOutcome"}}},
                ],
            })
        );
        let empty: serde_json::Value = serde_json::from_slice(&write_batch_response(&[])).unwrap();
        assert_eq!(empty, serde_json::json!({"resourceType": "Bundle", "type": "batch-response"}));
    }

    #[test]
    fn a_bundle_without_entries_has_no_entry_member() {
        let bundle = parse(&Searchset {
            total: Some(0),
            links: vec![("self", "http://h/fhir/Patient?_id=\"".to_owned())],
            ..Searchset::default()
        });
        assert_eq!(
            bundle,
            serde_json::json!({
                "resourceType": "Bundle", "type": "searchset", "total": 0,
                "link": [{"relation": "self", "url": "http://h/fhir/Patient?_id=\""}],
            })
        );
    }

    #[test]
    fn resources_are_copied_byte_for_byte() {
        let resource = Bytes::from_static(br#"{"resourceType":"Patient",  "id":"a"}"#);
        let entry = |mode| SearchEntry {
            full_url: Some("http://h/fhir/Patient/a".to_owned()),
            resource: resource.clone(),
            mode,
        };
        let searchset = Searchset {
            links: vec![("self", "http://h/s".to_owned()), ("next", "http://h/n".to_owned())],
            entries: vec![
                entry(Mode::Match),
                entry(Mode::Include),
                SearchEntry { full_url: None, ..entry(Mode::Outcome) },
            ],
            ..Searchset::default()
        };
        let text = String::from_utf8(searchset.to_json()).unwrap();
        assert_eq!(text.matches(std::str::from_utf8(&resource).unwrap()).count(), 3);
        let bundle = parse(&searchset);
        assert_eq!(bundle["entry"][1]["search"]["mode"], "include");
        assert_eq!(bundle["entry"][2].get("fullUrl"), None);
        assert_eq!(bundle["link"][1]["relation"], "next");
        assert_eq!(bundle.get("total"), None);
    }
}

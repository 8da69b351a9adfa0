//! Rewriting of an archive's URLs in DICOM JSON and Native DICOM XML: the same result for every chunking, well-formed where the
//! text was, every URL that a client follows leads to the gateway, and a text without URLs stays as it is.

use bytes::Bytes;
use dicomweb_gateway::dicomweb::{RewriteError, Rewriter, Syntax, UrlMap};
use serde_json::Value;
use url::Url;

use crate::chunks::cuts;

/// Where the archive is known to clients.
const PUBLIC: &str = "https://gateway.example/dicom-web/main";

/// What was asked for: whence relative references start.
const RESOURCE: &str = "studies/1.2/series/1.3/instances/1.4/metadata";

/// Checks one text: XML when it begins with markup, JSON otherwise.
pub fn check(text: &[u8]) {
    let syntax = if text.trim_ascii_start().starts_with(b"<") { Syntax::Xml } else { Syntax::Json };
    let whole = rewritten(syntax, &[text]);
    for chunks in cuts(text) {
        assert_eq!(rewritten(syntax, &chunks), whole, "the chunks change what is written");
    }
    let Ok(after) = whole else { return };
    let places: &[&[u8]] = match syntax {
        Syntax::Json => &[b"http", b"BulkDataURI", b"00081190"],
        Syntax::Xml => &[b"http", b"uri=", b"00081190"],
    };
    if !places.iter().any(|place| memchr::memmem::find(text, place).is_some()) {
        assert_eq!(after, text, "a text without URLs is changed");
    }
    match syntax {
        Syntax::Json => check_json(text, &after),
        Syntax::Xml => check_xml(text, &after),
    }
}

fn rewritten(syntax: Syntax, chunks: &[&[u8]]) -> Result<Vec<u8>, RewriteError> {
    let qido = Url::parse("http://pacs.internal:8042/dicom-web/").expect("a URL");
    let wado = Url::parse("http://pacs.internal:8043/wado/rs").expect("a URL");
    let mut rewriter = Rewriter::new(UrlMap::new(PUBLIC, &qido, &wado, RESOURCE), syntax);
    let mut written = Vec::new();
    for chunk in chunks {
        written.extend_from_slice(&rewriter.push(&Bytes::copy_from_slice(chunk))?);
    }
    written.extend_from_slice(&rewriter.finish()?);
    Ok(written)
}

fn check_json(before: &[u8], after: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(before) else { return };
    let after_value = serde_json::from_slice::<Value>(after).expect("the text was JSON before");
    // Archives write these names without escapes; those with escapes are none that are looked for.
    let literal = |name: &str| memchr::memmem::find_iter(before, format!("\"{name}\"").as_bytes()).count();
    let is_spelled_out = |name: &str| members(&value, name) <= literal(name);
    if is_spelled_out("BulkDataURI") && is_spelled_out("00081190") {
        check_places(&after_value);
    }
}

fn members(value: &Value, name: &str) -> usize {
    match value {
        Value::Object(object) => {
            object.iter().map(|(key, value)| usize::from(key == name) + members(value, name)).sum()
        }
        Value::Array(array) => array.iter().map(|value| members(value, name)).sum(),
        _ => 0,
    }
}

fn check_places(value: &Value) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                match (key.as_str(), value) {
                    ("BulkDataURI", Value::String(uri)) => check_url(uri),
                    ("00081190", Value::String(uri)) => check_url(uri),
                    ("00081190", Value::Object(element)) => {
                        for value in element.get("Value").and_then(Value::as_array).into_iter().flatten() {
                            value.as_str().map_or_else(|| check_places(value), check_url);
                        }
                    }
                    (_, value) => check_places(value),
                }
            }
        }
        Value::Array(array) => array.iter().for_each(check_places),
        _ => {}
    }
}

fn check_xml(before: &[u8], after: &[u8]) {
    let text = |bytes| str::from_utf8(bytes).ok();
    let (Some(before), Some(after)) = (text(before), text(after)) else { return };
    if roxmltree::Document::parse(before).is_err() {
        return;
    }
    let document = roxmltree::Document::parse(after).expect("the text was XML before");
    for node in document.descendants() {
        if node.has_tag_name("BulkData")
            && let Some(uri) = node.attribute("uri")
        {
            // Written so by every serializer; blanks around the sign would be legal, too.
            if memchr::memmem::find(&after.as_bytes()[node.range()], b"uri=").is_some() {
                check_url(uri);
            }
        }
    }
}

/// A client that follows `reference` out of the document asks the gateway, or nobody.
fn check_url(reference: &str) {
    let document = Url::parse(&format!("{PUBLIC}/{RESOURCE}")).expect("a URL");
    // What is no URL is followed by no client.
    if let Ok(followed) = document.join(reference) {
        assert_eq!(followed.origin(), document.origin(), "{reference:?} leads elsewhere");
    }
}

//! Rewriting of an archive's URLs in DICOM JSON and Native DICOM XML: the same result for every chunking, well-formed where the
//! text was, every URL that a client follows leads to the gateway, and what holds no URL stays as it is.

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
        Syntax::Xml => &[b"http", b"uri", b"00081190", b"&#"],
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
    check_same(&value, &after_value);
}

/// What holds no URL is the same afterwards.
fn check_same(before: &Value, after: &Value) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            assert_eq!(before.len(), after.len(), "an object has other members");
            // The name of a member that holds a URL becomes another, in another place of the order.
            if before.keys().any(|key| key.contains("http")) {
                return;
            }
            for ((key, before), (key_after, after)) in before.iter().zip(after) {
                assert_eq!(key, key_after, "a member is changed");
                if !matches!(key.as_str(), "BulkDataURI" | "00081190") {
                    check_same(before, after);
                }
            }
        }
        (Value::Array(before), Value::Array(after)) => {
            assert_eq!(before.len(), after.len(), "an array has another length");
            before.iter().zip(after).for_each(|(before, after)| check_same(before, after));
        }
        (Value::String(before), _) if before.contains("http") => {}
        _ => assert_eq!(before, after, "what is no URL is changed"),
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
    let after = roxmltree::Document::parse(after).expect("the text was XML before");
    let before = roxmltree::Document::parse(before).expect("it was parsed above");
    let elements = |document: &roxmltree::Document<'_>| {
        document.descendants().filter(roxmltree::Node::is_element).map(|node| node.id()).collect::<Vec<_>>()
    };
    let (before_ids, after_ids) = (elements(&before), elements(&after));
    assert_eq!(before_ids.len(), after_ids.len(), "there are other elements");
    for (before_id, after_id) in before_ids.into_iter().zip(after_ids) {
        let (before, after) = (before.get_node(before_id), after.get_node(after_id));
        check_element(before.expect("an element"), after.expect("an element"));
    }
}

fn check_element(before: roxmltree::Node<'_, '_>, after: roxmltree::Node<'_, '_>) {
    assert_eq!(before.tag_name().name(), after.tag_name().name());
    assert_eq!(before.attributes().len(), after.attributes().len(), "there are other attributes");
    for (before, after) in before.attributes().zip(after.attributes()) {
        if after.name() == "uri" && after.namespace().is_none() {
            check_url(after.value());
        } else if !before.value().contains("http") {
            assert_eq!(
                (before.name(), before.value()),
                (after.name(), after.value()),
                "an attribute is changed"
            );
        }
    }
    let is_of_retrieve_url = after.ancestors().any(|element| element.attribute("tag") == Some("00081190"));
    let text = |node: roxmltree::Node<'_, '_>| -> String {
        node.children().filter(roxmltree::Node::is_text).filter_map(|text| text.text()).collect()
    };
    if !is_of_retrieve_url {
        assert!(text(before).contains("http") || text(before) == text(after), "a text is changed");
        return;
    }
    // Texts and CDATA sections beside each other are rewritten one by one, and so are those between comments.
    let is_one = |node: roxmltree::Node<'_, '_>| {
        let source = &node.document().input_text()[node.range()];
        !source.contains("<!") && !source.contains("<?")
    };
    if is_one(before) {
        after.children().filter_map(|child| child.text()).for_each(|text| check_url(text.trim()));
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

//! Rewriting of an archive's URLs in DICOM JSON and Native DICOM XML: chunks do not change the result, a well-formed text stays
//! well-formed, every URL that a client follows leads to the gateway, and a text without URLs is not changed.

use bytes::Bytes;
use dicomweb_gateway::dicomweb::{RewriteError, Rewriter, Syntax, UrlMap};
use serde_json::Value;
use url::Url;

use crate::chunks::split_in_several_ways;

/// The URL of the archive for clients.
const PUBLIC_ROOT: &str = "https://gateway.example/dicom-web/main";

/// The path of the requested resource, which is the base of relative references.
const RESOURCE: &str = "studies/1.2/series/1.3/instances/1.4/metadata";

/// Checks one text: XML if it begins with markup, JSON otherwise.
pub fn check(text: &[u8]) {
    let syntax = if text.trim_ascii_start().starts_with(b"<") { Syntax::Xml } else { Syntax::Json };
    let whole = rewrite(syntax, &[text]);
    for chunks in split_in_several_ways(text) {
        assert_eq!(rewrite(syntax, &chunks), whole, "the chunks change the result");
    }
    let Ok(after) = whole else { return };
    let triggers: &[&[u8]] = match syntax {
        Syntax::Json => &[b"http", b"BulkDataURI", b"00081190"],
        Syntax::Xml => &[b"http", b"uri", b"00081190", b"&#"],
    };
    if !triggers.iter().any(|trigger| memchr::memmem::find(text, trigger).is_some()) {
        assert_eq!(after, text, "a text without URLs is changed");
    }
    match syntax {
        Syntax::Json => check_json(text, &after),
        Syntax::Xml => check_xml(text, &after),
    }
}

fn rewrite(syntax: Syntax, chunks: &[&[u8]]) -> Result<Vec<u8>, RewriteError> {
    let qido = Url::parse("http://pacs.internal:8042/dicom-web/").expect("a URL");
    let wado = Url::parse("http://pacs.internal:8043/wado/rs").expect("a URL");
    let mut rewriter = Rewriter::new(UrlMap::new(PUBLIC_ROOT, &qido, &wado, RESOURCE), syntax);
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
    // Archives write these names without escapes; the rewriter does not recognize names with escapes.
    let literal_count =
        |name: &str| memchr::memmem::find_iter(before, format!("\"{name}\"").as_bytes()).count();
    let has_no_escapes = |name: &str| member_count(&value, name) <= literal_count(name);
    if has_no_escapes("BulkDataURI") && has_no_escapes("00081190") {
        check_urls(&after_value);
    }
    check_unchanged(&value, &after_value);
}

/// Checks that values without a URL are unchanged.
fn check_unchanged(before: &Value, after: &Value) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            // A BulkDataURI that the gateway does not serve is removed.
            let is_kept = |key: &String| key != "BulkDataURI" || after.contains_key(key);
            let kept: Vec<_> = before.iter().filter(|(key, _)| is_kept(key)).collect();
            assert_eq!(kept.len(), after.len(), "an object has other members");
            // A member whose name is a URL gets another name, and another position in the order.
            if before.keys().any(|key| key.contains("http")) {
                return;
            }
            for ((key, before), (key_after, after)) in kept.into_iter().zip(after) {
                assert_eq!(key, key_after, "a member is changed");
                if !matches!(key.as_str(), "BulkDataURI" | "00081190") {
                    check_unchanged(before, after);
                }
            }
        }
        (Value::Array(before), Value::Array(after)) => {
            assert_eq!(before.len(), after.len(), "an array has another length");
            before.iter().zip(after).for_each(|(before, after)| check_unchanged(before, after));
        }
        (Value::String(before), _) if before.contains("http") => {}
        _ => assert_eq!(before, after, "a value that is not a URL is changed"),
    }
}

fn member_count(value: &Value, name: &str) -> usize {
    match value {
        Value::Object(object) => {
            object.iter().map(|(key, value)| usize::from(key == name) + member_count(value, name)).sum()
        }
        Value::Array(array) => array.iter().map(|value| member_count(value, name)).sum(),
        _ => 0,
    }
}

fn check_urls(value: &Value) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                match (key.as_str(), value) {
                    ("BulkDataURI", Value::String(uri)) => check_url(uri),
                    ("00081190", Value::String(uri)) => check_url(uri),
                    ("00081190", Value::Object(element)) => {
                        for value in element.get("Value").and_then(Value::as_array).into_iter().flatten() {
                            value.as_str().map_or_else(|| check_urls(value), check_url);
                        }
                    }
                    (_, value) => check_urls(value),
                }
            }
        }
        Value::Array(array) => array.iter().for_each(check_urls),
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
    assert_eq!(before_ids.len(), after_ids.len(), "the number of elements is changed");
    for (before_id, after_id) in before_ids.into_iter().zip(after_ids) {
        let (before, after) = (before.get_node(before_id), after.get_node(after_id));
        check_element(before.expect("an element"), after.expect("an element"));
    }
}

fn check_element(before: roxmltree::Node<'_, '_>, after: roxmltree::Node<'_, '_>) {
    assert_eq!(before.tag_name().name(), after.tag_name().name());
    assert_eq!(before.attributes().len(), after.attributes().len(), "the number of attributes is changed");
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
    let is_in_retrieve_url = after.ancestors().any(|element| element.attribute("tag") == Some("00081190"));
    let text = |node: roxmltree::Node<'_, '_>| -> String {
        node.children().filter(roxmltree::Node::is_text).filter_map(|text| text.text()).collect()
    };
    if !is_in_retrieve_url {
        assert!(text(before).contains("http") || text(before) == text(after), "a text is changed");
        return;
    }
    // Adjacent texts and CDATA sections, and texts between comments, are rewritten one by one.
    let is_single_text = |node: roxmltree::Node<'_, '_>| {
        let source = &node.document().input_text()[node.range()];
        !source.contains("<!") && !source.contains("<?")
    };
    if is_single_text(before) {
        after.children().filter_map(|child| child.text()).for_each(|text| check_url(text.trim()));
    }
}

/// Checks that `reference` in the document leads to the gateway or is not a valid URL.
fn check_url(reference: &str) {
    let document = Url::parse(&format!("{PUBLIC_ROOT}/{RESOURCE}")).expect("a URL");
    // Clients do not follow invalid URLs.
    if let Ok(followed) = document.join(reference) {
        assert_eq!(followed.origin(), document.origin(), "{reference:?} does not lead to the gateway");
    }
}

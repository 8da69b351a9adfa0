use proptest::prelude::*;
use url::Url;

use super::replacer::MAX_URL_LEN;
use super::*;

const PUBLIC: &str = "https://gw.example/dicom-web/main";

fn rewriter(syntax: Syntax) -> Rewriter {
    let root = Url::parse("http://pacs:8042/dicom-web/").unwrap();
    Rewriter::new(UrlMap::new(PUBLIC, &root, &root, "studies/1.2/series/1.3/instances/1.4/metadata"), syntax)
}

fn rewrite(syntax: Syntax, text: &[u8], chunks: &[usize]) -> Result<Vec<u8>, RewriteError> {
    let mut rewriter = rewriter(syntax);
    let mut output = Vec::new();
    let mut rest = text;
    for length in chunks.iter().copied().cycle().take_while(|length| *length > 0) {
        if rest.is_empty() {
            break;
        }
        let (chunk, next) = rest.split_at(length.min(rest.len()));
        output.extend_from_slice(&rewriter.push(&Bytes::copy_from_slice(chunk))?);
        rest = next;
    }
    output.extend_from_slice(&rewriter.finish()?);
    Ok(output)
}

fn rewrite_json(text: &str) -> String {
    String::from_utf8(rewrite(Syntax::Json, text.as_bytes(), &[text.len().max(1)]).unwrap()).unwrap()
}

fn rewrite_xml(text: &str) -> String {
    String::from_utf8(rewrite(Syntax::Xml, text.as_bytes(), &[text.len().max(1)]).unwrap()).unwrap()
}

#[test]
fn every_form_of_an_archive_url_is_rewritten() {
    for (before, after) in [
        (
            r#"[{"00081190":{"vr":"UR","Value":["http://pacs:8042/dicom-web/studies/1.2"]}}]"#,
            r#"[{"00081190":{"vr":"UR","Value":["https://gw.example/dicom-web/main/studies/1.2"]}}]"#,
        ),
        (
            r#"[{"00081190":{"Value":["http:\/\/evil\/x\/studies\/1.2"],"vr":"UR"}}]"#,
            r#"[{"00081190":{"Value":["https://gw.example/dicom-web/main/studies/1.2"],"vr":"UR"}}]"#,
        ),
        (
            r#"[{"00081190":{"Value":["\u0068ttp://evil/studies/1.2"],"vr":"UR"}}]"#,
            r#"[{"00081190":{"Value":["https://gw.example/dicom-web/main/studies/1.2"],"vr":"UR"}}]"#,
        ),
        (
            "{\"7FE00010\" : {\"vr\":\"OW\",\n \"BulkDataURI\" :\t\"http://10.1.1.1/dicom-web/studies/1.2/series/1.3/instances/1.4/bulk/7fe00010\"}}",
            "{\"7FE00010\" : {\"vr\":\"OW\",\n \"BulkDataURI\" :\t\"https://gw.example/dicom-web/main/studies/1.2/series/1.3/instances/1.4/bulk/7fe00010\"}}",
        ),
        (
            r#"{"BulkDataURI":"./frames"}"#,
            r#"{"BulkDataURI":"https://gw.example/dicom-web/main/studies/1.2/series/1.3/instances/1.4/frames"}"#,
        ),
        (r#"{"BulkDataURI":"http://third.example/blob/1"}"#, "{}"),
        (r#"{"BulkDataURI":"file:///data/1.dcm"}"#, "{}"),
        (
            r#"{"00081190":{"vr":"UR","Value":["http://pacs:8042/app"]}}"#,
            r#"{"00081190":{"vr":"UR","Value":[""]}}"#,
        ),
        (
            r#"{"00081190":"http://pacs/studies/1"}"#,
            r#"{"00081190":"https://gw.example/dicom-web/main/studies/1"}"#,
        ),
        (
            r#"{"RetrieveURL":{"Value":["http://pacs:8042/dicom-web/studies/1.2"]}}"#,
            r#"{"RetrieveURL":{"Value":["https://gw.example/dicom-web/main/studies/1.2"]}}"#,
        ),
        (
            r#"{"00081030":{"Value":["see http://pacs:8042/app, or not"]}}"#,
            r#"{"00081030":{"Value":["see https://gw.example/dicom-web/main or not"]}}"#,
        ),
    ] {
        assert_eq!(rewrite_json(before), after);
    }
}

#[test]
fn other_text_is_unchanged() {
    for text in [
        "",
        "[]",
        r#"[{"00081190":{"vr":"UR"}}]"#,
        r#"[{"00081190":{"vr":"UR","Value":[]}},{"00081190":null}]"#,
        r#"{"00081030":{"Value":["\"BulkDataURI\":\"http is a protocol"]}}"#,
        r#"{"00081030":{"Value":["http://dicom.nema.org/PS3.19", "http:", "https:/", "BulkDataURI"]}}"#,
        r#"{"BulkDataURI":null,"x":["BulkDataURI"],"y":"00081190"}"#,
        r#"{"BulkDataURI":""}"#,
        r#"{"00081190":{"vr":"UR","Value":[{"a":{"b":[]}}]},"z":"http"#,
    ] {
        assert_eq!(rewrite_json(text), text);
    }
}

#[test]
fn urls_with_character_references_are_rewritten() {
    for (uri, rewritten_uri) in [
        ("&#x2f;&#47;other.example/x", ""),
        ("&#x68;ttp://pacs:8042/dicom-web/studies/1.2", "https://gw.example/dicom-web/main/studies/1.2"),
    ] {
        let text = format!("<BulkData uri=\"{uri}\"/>");
        let after = rewrite(Syntax::Xml, text.as_bytes(), &[3]).unwrap();
        let expected = format!("<BulkData uri=\"{rewritten_uri}\"/>");
        assert_eq!(String::from_utf8(after).unwrap(), expected, "{uri}");
    }
}

#[test]
fn bytes_that_are_not_utf8_are_unchanged() {
    let text = b"[{\"00100010\":{\"Value\":[\"M\xFCller\"]},\"BulkDataURI\":\"x\xFC\"}]";
    assert_eq!(rewrite(Syntax::Json, text, &[3]).unwrap(), text);
}

const CHUNKS: [usize; 5] = [1, 7, 1000, 5000, usize::MAX];

#[test]
fn an_endless_url_is_incomplete_and_needs_little_memory() {
    let text = format!("{{\"BulkDataURI\":\"{}", "a/".repeat(4 * MAX_URL_LEN));
    for size in [1000, usize::MAX] {
        assert_eq!(rewrite(Syntax::Json, text.as_bytes(), &[size]), Err(RewriteError::Incomplete));
    }
    let mut rewriter = rewriter(Syntax::Json);
    for chunk in text.as_bytes().chunks(1000) {
        rewriter.push(&Bytes::copy_from_slice(chunk)).unwrap();
        assert!(rewriter.retained.len() <= MAX_URL_LEN + 1000);
    }
    let text = format!("{{\"x\":\"http://{}\"}}", "a".repeat(3 * MAX_URL_LEN));
    assert_eq!(rewrite(Syntax::Json, text.as_bytes(), &[1000]).unwrap(), text.as_bytes());
}

#[test]
fn a_url_that_is_too_long_affects_only_its_element() {
    let long =
        format!("http://pacs:8042/dicom-web/studies/1.2/bulkdata/{}", "a/\\\"b".repeat(2 * MAX_URL_LEN));
    for (before, after) in [
        (
            format!(r#"[{{"7FE00010":{{"vr":"OW","BulkDataURI":"{long}"}},"00100020":{{"vr":"LO"}}}}]"#),
            r#"[{"7FE00010":{"vr":"OW"},"00100020":{"vr":"LO"}}]"#,
        ),
        (
            format!(r#"[{{"7FE00010":{{"BulkDataURI":"{long}","vr":"OW"}}}}]"#),
            r#"[{"7FE00010":{"vr":"OW"}}]"#,
        ),
        (
            format!(r#"[{{"00081190":{{"vr":"UR","Value":["{long}"]}},"00100020":{{"vr":"LO"}}}}]"#),
            r#"[{"00081190":{"vr":"UR","Value":[""]},"00100020":{"vr":"LO"}}]"#,
        ),
    ] {
        for size in CHUNKS {
            let rewritten = rewrite(Syntax::Json, before.as_bytes(), &[size.min(before.len())]).unwrap();
            assert_eq!(String::from_utf8(rewritten).unwrap(), after, "{size}");
        }
    }
    let text = format!(r#"[{{"00081190":{{"vr":"LT","Value":["see {long}"]}}}},{{"x":"{long}"}}]"#);
    for size in CHUNKS {
        let rewritten = rewrite(Syntax::Json, text.as_bytes(), &[size.min(text.len())]).unwrap();
        assert!(!String::from_utf8(rewritten).unwrap().contains("pacs:8042"), "{size}");
    }
    let long = "http://pacs:8042/".to_owned() + &"a/".repeat(2 * MAX_URL_LEN);
    let xml = format!(
        r#"<DicomAttribute tag="00081190"><Value number="1">{long}</Value></DicomAttribute><DicomAttribute tag="7FE00010"><BulkData uri="{long}"/></DicomAttribute><Value>x</Value>"#
    );
    for size in CHUNKS {
        let rewritten = rewrite(Syntax::Xml, xml.as_bytes(), &[size.min(xml.len())]).unwrap();
        assert_eq!(String::from_utf8(rewritten).unwrap(), xml.replace(&long, ""), "{size}");
    }
}

#[test]
fn a_bulk_data_uri_that_clients_cannot_follow_is_removed_with_its_member() {
    for (before, after) in [
        (r#"[{"1":{"vr":"OW","BulkDataURI":"http://evil/x"}}]"#, r#"[{"1":{"vr":"OW"}}]"#),
        (r#"[{"1":{"BulkDataURI":"http://evil/x","vr":"OW"}}]"#, r#"[{"1":{"vr":"OW"}}]"#),
        (r#"[{"1":{"BulkDataURI":"http://evil/x"}}]"#, r#"[{"1":{}}]"#),
        (
            "[{\"1\" : {\n  \"vr\" : \"OW\" ,\n  \"BulkDataURI\" : \"http://pacs:8042/dicom-web/bulk/zz?sig\"\n}}]",
            "[{\"1\" : {\n  \"vr\" : \"OW\" \n}}]",
        ),
        (
            "[{\"1\": {\n  \"BulkDataURI\": \"http://pacs:8042/dicom-web/bulk/zz\",\n  \"vr\": \"OW\"}}]",
            "[{\"1\": {\n  \n  \"vr\": \"OW\"}}]",
        ),
        (
            r#"[{"1":{"vr":"OW","BulkDataURI":"file:///x","x":1},"2":{"vr":"LO","Value":["BulkDataURI","a"]}}]"#,
            r#"[{"1":{"vr":"OW","x":1},"2":{"vr":"LO","Value":["BulkDataURI","a"]}}]"#,
        ),
    ] {
        for size in 1..=before.len() {
            let rewritten = rewrite(Syntax::Json, before.as_bytes(), &[size]).unwrap();
            assert_eq!(String::from_utf8(rewritten).unwrap(), after, "{before} {size}");
        }
    }
}

#[test]
fn urls_in_xml_are_rewritten_for_all_chunk_sizes() {
    let before = r#"<NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM"><DicomAttribute tag="00081190" vr="UR" keyword="RetrieveURL"><Value number="1"> http://other/studies/1.2 </Value><Value number="2">http://third/x</Value></DicomAttribute><DicomAttribute tag="7FE00010" vr="OW"><BulkData uri="http://third/blob"/><BulkData uri='http://pacs:8042/dicom-web/studies/1.2/bulkdata/1'/></DicomAttribute></NativeDicomModel>"#;
    let after = r#"<NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM"><DicomAttribute tag="00081190" vr="UR" keyword="RetrieveURL"><Value number="1"> https://gw.example/dicom-web/main/studies/1.2 </Value><Value number="2"></Value></DicomAttribute><DicomAttribute tag="7FE00010" vr="OW"><BulkData uri=""/><BulkData uri='https://gw.example/dicom-web/main/studies/1.2/bulkdata/1'/></DicomAttribute></NativeDicomModel>"#;
    assert_eq!(rewrite_xml(before), after);
    for size in 1..before.len() {
        assert_eq!(rewrite(Syntax::Xml, before.as_bytes(), &[size]).unwrap(), after.as_bytes(), "{size}");
    }
    let empty = r#"<DicomAttribute tag="00081190" vr="UR"/><Value>http://third/x</Value>"#;
    assert_eq!(rewrite_xml(empty), empty);
}

const PIECES: &str = "http|s|:|//|\\\\/|\\\\|\"|pacs:8042|/dicom-web|/studies/1\\.2|BulkDataURI|\"BulkDataURI\":\"|\"00081190\"|\\{|\\}|\\[|\\]|,|vr| |x|\\.\\.?/|frames|<|>|uri=|'|</DicomAttribute>";

proptest! {
    #[test]
    fn the_result_does_not_depend_on_the_chunks(
        pieces in prop::collection::vec(PIECES, 0..40), sizes in prop::collection::vec(1usize..20, 1..8), xml in any::<bool>(),
    ) {
        let syntax = if xml { Syntax::Xml } else { Syntax::Json };
        let text = pieces.concat();
        let whole = rewrite(syntax, text.as_bytes(), &[text.len().max(1)]);
        prop_assert_eq!(rewrite(syntax, text.as_bytes(), &sizes), whole.clone());
        prop_assert_eq!(rewrite(syntax, text.as_bytes(), &[1]), whole);
    }

    #[test]
    fn no_rewritten_row_contains_the_host_of_the_archive(
        host in "pacs:8042|other|evil\\.example:1", path in "/dicom-web/studies/1\\.2|/x|/studies/1/series/2/metadata|", slash in "/|\\\\/",
        key in "\"BulkDataURI\":|\"00081190\":\\{\"vr\":\"UR\",\"Value\":\\[", size in 1usize..60,
    ) {
        let url = format!("http://{host}{path}").replace('/', &slash);
        let close = if key.contains('[') { "]}" } else { "" };
        let text = format!("[{{{key}\"{url}\"{close}}}]");
        let after = String::from_utf8(rewrite(Syntax::Json, text.as_bytes(), &[size]).unwrap()).unwrap();
        prop_assert!(!after.contains(&host), "{}", after);
        prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&after).is_ok(), "{}", after);
    }
}

proptest! {
    #[test]
    fn the_rewriting_of_a_url_does_not_depend_on_previous_urls(
        urls in prop::collection::vec(
            (
                prop::sample::select(vec!["http://a/rs", "http://a/rs/studies/1.2", "http://a", "//a/rs", "", "HTTP://b/studies"]),
                prop::sample::select(vec![
                    "/studies/1.2", "/studies/1.2/series/1.3", "/series", "/app", "/studies/..", "/studies", "/studies/1.2?x", "//studies/1.2",
                ]),
            ),
            1..8,
        ),
    ) {
        let element = |(root, path): &(&str, &str)| format!(r#"{{"BulkDataURI":"{root}{path}"}}"#);
        let separate: String = urls.iter().map(|url| rewrite_json(&element(url))).collect();
        let together: String = urls.iter().map(element).collect();
        prop_assert_eq!(rewrite_json(&together), separate);
    }
}

#[test]
fn an_apostrophe_in_the_public_url_is_escaped_in_xml_attributes() {
    let root = Url::parse("http://pacs:8042/dicom-web/").unwrap();
    let url_map = UrlMap::new("https://gw.example/o'brien", &root, &root, "studies/1.2/metadata");
    let mut rewriter = Rewriter::new(url_map, Syntax::Xml);
    let text = "<BulkData uri='http://pacs:8042/dicom-web/studies/1.2/bulk/1'/>";
    let mut output = rewriter.push(&Bytes::from(text)).unwrap().to_vec();
    output.extend_from_slice(&rewriter.finish().unwrap());
    let document = String::from_utf8(output).unwrap();
    let document = roxmltree::Document::parse(&document).unwrap();
    let uri = document.root_element().attribute("uri");
    assert_eq!(uri, Some("https://gw.example/o'brien/studies/1.2/bulk/1"));
}

/// Rewrites URLs of `http://pacs:8042/dicom-web` to those of `public`.
fn rewrite_to(public: &str, syntax: Syntax, text: &str) -> String {
    let root = Url::parse("http://pacs:8042/dicom-web/").unwrap();
    let mut rewriter = Rewriter::new(UrlMap::new(public, &root, &root, "studies/1.2/metadata"), syntax);
    let mut output = rewriter.push(&Bytes::copy_from_slice(text.as_bytes())).unwrap().to_vec();
    output.extend_from_slice(&rewriter.finish().unwrap());
    String::from_utf8(output).unwrap()
}

#[test]
fn attributes_of_xml_are_recognized_only_in_tags() {
    for text in [
        r#"<a><Value>uri="x</Value><Value number="1">1//2</Value></a>"#,
        r"<a><Value>the patient says uri='s</Value><Value number='1'>it's</Value></a>",
        r#"<a b="the uri='http://other.example/x"><c uri="x"/>'</a>"#,
        r#"<a><!-- uri="//other.example/x --><Value number="1"/></a>"#,
        r#"<a><![CDATA[<b uri="//other.example/x]]><Value number="1"/></a>"#,
        r#"<a><?x uri="//other.example/x?><Value number="1"/></a>"#,
        r#"<DicomAttribute tag="00081030"><Value number="1">"00081190"</Value><Value number="2">/1/2</Value></DicomAttribute>"#,
        r#"<a b=">" c='"00081190"'><Value>/1/2</Value></a>"#,
        r#"<a xmlns:x="x" x:uri="//other.example/x" ur="/" iuri="/" uri2="/"/>"#,
    ] {
        roxmltree::Document::parse(text).unwrap();
        for size in [1, 2, 3, 7, text.len()] {
            let after = rewrite(Syntax::Xml, text.as_bytes(), &[size]).unwrap();
            assert_eq!(String::from_utf8(after).unwrap(), text, "{size}");
        }
    }
}

#[test]
fn every_form_of_an_attribute_in_xml_is_recognized() {
    for (before, after) in [
        ("<BulkData\n\turi = 'http://other/x' uuid='1'/>", "<BulkData\n\turi = '' uuid='1'/>"),
        (r#"<a b=">"uri="//other/x"/>"#, r#"<a b=">"uri=""/>"#),
        (
            "<DicomAttribute vr='UR' tag = '00081190'><Value>//other/x</Value><BulkData uri='//other/y'/></DicomAttribute><Value>//x</Value>",
            "<DicomAttribute vr='UR' tag = '00081190'><Value></Value><BulkData uri=''/></DicomAttribute><Value>//x</Value>",
        ),
        (
            "<a:DicomAttribute tag='0008119&#48;'><a:Value>//other/x</a:Value></a:DicomAttribute><Value>//x</Value>",
            "<a:DicomAttribute tag='0008119&#48;'><a:Value></a:Value></a:DicomAttribute><Value>//x</Value>",
        ),
        (
            "<a tag='00081190'><Value><![CDATA[http://other/studies/1.2?a&b]]></Value><Value><![CDATA[ http://pacs:8042/dicom-web/studies/1.2 ]]></Value></a>",
            "<a tag='00081190'><Value></Value><Value>https://gw.example/dicom-web/main/studies/1.2</Value></a>",
        ),
    ] {
        for size in [1, 2, 3, 7, before.len()] {
            let output = rewrite(Syntax::Xml, before.as_bytes(), &[size]).unwrap();
            assert_eq!(String::from_utf8(output).unwrap(), after, "{size}");
        }
    }
}

#[test]
fn a_url_in_xml_ends_before_the_delimiter_of_the_text() {
    for (before, after) in [
        ("<a b='http://pacs:8042/app'/>", "<a b='https://gw.example/dicom-web/main'/>"),
        ("<a><!--http://pacs:8042/app--></a>", "<a><!--https://gw.example/dicom-web/main--></a>"),
        ("<a><![CDATA[http://pacs:8042/app]]></a>", "<a><![CDATA[https://gw.example/dicom-web/main]]></a>"),
        ("<a><?b http://pacs:8042/app?></a>", "<a><?b https://gw.example/dicom-web/main?></a>"),
        (
            "<a>&quot;http://pacs:8042/app&quot;, &lt;http://pacs:8042/dicom-web&gt;</a>",
            "<a>&quot;https://gw.example/dicom-web/main&quot;, &lt;https://gw.example/dicom-web/main&gt;</a>",
        ),
        (
            "<a><![CDATA[http://pacs:8042/dicom-web/studies?sealed=a&b]]></a>",
            "<a><![CDATA[https://gw.example/dicom-web/main/studies?sealed=a&b]]></a>",
        ),
    ] {
        roxmltree::Document::parse(before).unwrap();
        roxmltree::Document::parse(after).unwrap();
        for size in [1, 2, 3, 7, before.len()] {
            let output = rewrite(Syntax::Xml, before.as_bytes(), &[size]).unwrap();
            assert_eq!(String::from_utf8(output).unwrap(), after, "{size}");
        }
    }
}

#[test]
fn a_url_with_two_hyphens_is_not_written_into_a_comment() {
    let before = "<a><!-- at http://pacs:8042/dicom-web/studies/1.2 --></a>";
    let after = rewrite_to("https://xn--mnchen-3ya.example/dicom-web", Syntax::Xml, before);
    assert_eq!(after, "<a><!-- at  --></a>");
}

#[test]
fn a_quote_at_the_end_of_a_url_in_json_does_not_end_its_text() {
    let before =
        r#"{"BulkDataURI":"http://pacs:8042/dicom-web/x\"","x":"http://pacs:8042/dicom-web/studies/1.2\""}"#;
    let after = r#"{"x":"https://gw.example/dicom-web/main/studies/1.2\""}"#;
    assert_eq!(rewrite_json(before), after);
}

#[test]
fn a_brace_in_a_url_does_not_begin_an_object_for_any_chunk_size() {
    let text = br#""http://pacs:4iiii{"BulkDataURI":"http://pacs:8042/di""#;
    let expected = rewrite(Syntax::Json, text, &[text.len()]).unwrap();
    for chunk_size in 1..text.len() {
        assert_eq!(rewrite(Syntax::Json, text, &[chunk_size]).unwrap(), expected, "{chunk_size}");
    }
}

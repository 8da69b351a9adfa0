use super::*;
use proptest::prelude::*;

fn xml(json: &str) -> String {
    let xml = from_json(json, false).unwrap();
    let xml = xml.strip_prefix(r#"<?xml version="1.0" encoding="UTF-8"?>"#).unwrap();
    xml.replacen(r#" xmlns="http://hl7.org/fhir""#, "", 1)
}

#[test]
fn document_has_the_type_and_namespace_of_its_resource() {
    assert_eq!(
        from_json(r#"{"resourceType":"Patient","id":"a","active":true}"#, false).unwrap(),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Patient xmlns=\"http://hl7.org/fhir\"><id value=\"a\"/>\
         <active value=\"true\"/></Patient>"
    );
}

#[test]
fn only_a_resource_has_its_id_as_an_element() {
    assert_eq!(
        xml(
            r#"{"resourceType":"Patient","id":"p","name":[{"id":"n","family":"Doe","given":["Jane","Q."]}]}"#
        ),
        r#"<Patient><id value="p"/><name id="n"><family value="Doe"/><given value="Jane"/><given value="Q."/></name></Patient>"#
    );
}

#[test]
fn only_an_extension_has_its_url_as_an_attribute() {
    assert_eq!(
        xml(
            r#"{"resourceType":"Bundle","link":[{"url":"http://h/?a&b"}],"extension":[{"extension":[{"url":"x","valueCode":"y"}],"url":"u"}]}"#
        ),
        r#"<Bundle><link><url value="http://h/?a&amp;b"/></link><extension url="u"><extension url="x"><valueCode value="y"/></extension></extension></Bundle>"#
    );
}

#[test]
fn sibling_members_of_primitives_are_children_in_xml() {
    let absent = r#"{"extension":[{"url":"u","valueCode":"unknown"}]}"#;
    let inside = r#"<extension url="u"><valueCode value="unknown"/></extension>"#;
    assert_eq!(
        xml(&format!(
            r#"{{"resourceType":"Patient","birthDate":"1970","_birthDate":{{"id":"b","extension":[{{"url":"u","valueCode":"unknown"}}]}},"_gender":{absent}}}"#
        )),
        format!(
            r#"<Patient><birthDate id="b" value="1970">{inside}</birthDate><gender>{inside}</gender></Patient>"#
        )
    );
    assert_eq!(
        xml(&format!(
            r#"{{"resourceType":"X","given":["a",null,"c"],"_given":[null,{absent}],"_prefix":[{absent}]}}"#
        )),
        format!(
            r#"<X><given value="a"/><given>{inside}</given><given value="c"/><prefix>{inside}</prefix></X>"#
        )
    );
}

#[test]
fn nested_resource_is_wrapped_in_an_element_of_its_type() {
    assert_eq!(
        xml(
            r#"{"resourceType":"Bundle","entry":[{"fullUrl":"f","resource":{"resourceType":"Patient","id":"a","contained":[{"resourceType":"Endpoint","id":"e"}]}},{"response":{"status":"404","outcome":{"resourceType":"OperationOutcome"}}}]}"#
        ),
        "<Bundle><entry><fullUrl value=\"f\"/><resource><Patient><id value=\"a\"/><contained><Endpoint><id value=\"e\"/></Endpoint>\
         </contained></Patient></resource></entry><entry><response><status value=\"404\"/><outcome><OperationOutcome/></outcome>\
         </response></entry></Bundle>"
    );
}

#[test]
fn narrative_is_copied_unchanged() {
    let div = r#"<div xmlns="http://www.w3.org/1999/xhtml"><p>a &lt; b<br/> c</p></div>"#;
    let quoted = serde_json::to_string(div).unwrap();
    let json = format!(r#"{{"resourceType":"Patient","text":{{"status":"generated","div":{quoted}}}}}"#);
    assert!(xml(&json).contains(div));
    assert!(from_json(&json, true).unwrap().contains(&format!("\n    {div}\n  </text>\n")));
}

#[test]
fn numbers_keep_their_digits_and_strings_their_line_breaks() {
    assert_eq!(
        xml(r#"{"resourceType":"X","a":1.50,"b":"x\r\n\ty \"<&>\"","c":"\u0007\ufffe"}"#),
        "<X><a value=\"1.50\"/><b value=\"x&#xD;&#xA;&#x9;y &quot;&lt;&amp;&gt;&quot;\"/><c value=\"\u{fffd}\u{fffd}\"/></X>"
    );
}

#[test]
fn pretty_output_has_one_line_per_element() {
    assert_eq!(
        from_json(r#"{"resourceType":"Patient","name":[{"family":"Doe"}]}"#, true).unwrap(),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Patient xmlns=\"http://hl7.org/fhir\">\n  <name>\n    \
         <family value=\"Doe\"/>\n  </name>\n</Patient>\n"
    );
}

#[test]
fn json_that_is_not_a_resource_is_rejected() {
    for (json, error) in [
        ("[]", NotFhir::NoResource),
        (r#"{"id":"a"}"#, NotFhir::NoResource),
        (r#"{"resourceType":"a><b"}"#, NotFhir::Name),
        (r#"{"resourceType":"X","a b":1}"#, NotFhir::Name),
        (r#"{"resourceType":"X","_":1}"#, NotFhir::Value),
        (r#"{"resourceType":"X","a":[[1]]}"#, NotFhir::Value),
        (r#"{"resourceType":"X","a":null}"#, NotFhir::Value),
        (r#"{"resourceType":"X","a":{"id":1}}"#, NotFhir::Value),
        (r#"{"resourceType":"X","text":{"div":"<script/>"}}"#, NotFhir::Value),
    ] {
        assert_eq!(from_json(json, false), Err(error), "{json}");
    }
    assert!(matches!(from_json("{", false), Err(NotFhir::Json(_))));
}

proptest! {
    /// Checks that a strict XML reader returns every string, with the characters that XML does not allow replaced.
    #[test]
    fn text_is_unchanged_except_for_characters_that_xml_does_not_allow(text: String, pretty: bool) {
        let json = serde_json::json!({"resourceType": "X", "a": [text, {"b": text}]}).to_string();
        let xml = from_json(&json, pretty).unwrap();
        let document = roxmltree::Document::parse(&xml).unwrap();
        let values: Vec<_> = document.descendants().filter_map(|node| node.attribute("value")).collect();
        let mut expected = String::new();
        push_xml_characters(&mut expected, &text);
        prop_assert_eq!(values, [&expected, &expected]);
    }
}

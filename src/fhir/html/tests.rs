use super::*;

/// Renders the page of a resource that was requested with the parameters `pairs`.
fn page(resource: &serde_json::Value, pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let location = PageLocation::new("https://h.example/x/fhir".to_owned(), &pairs);
    render_page(&resource.to_string(), Some(&location), None).unwrap()
}

/// Returns the URLs that the page links to, unescaped.
fn linked_urls(page: &str) -> Vec<String> {
    let urls = page.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    urls.map(|url| url.replace("&#38;", "&").replace("&#39;", "'")).collect()
}

/// Returns the JSON as a browser displays it.
fn displayed_json(page: &str) -> String {
    let pre = page.split("<pre>").nth(1).unwrap().split("</pre>").next().unwrap();
    let mut text = String::new();
    let mut is_in_tag = false;
    for character in pre.chars() {
        match character {
            '<' => is_in_tag = true,
            '>' => is_in_tag = false,
            character if !is_in_tag => text.push(character),
            _ => {}
        }
    }
    ["&#34;=\"", "&#39;='", "&#60;=<", "&#62;=>", "&#38;=&"].iter().fold(text, |text, escape| {
        let (escape, character) = escape.split_at(5);
        text.replace(escape, &character[1..])
    })
}

#[test]
fn the_page_shows_the_json_unchanged() {
    let resource = serde_json::json!({
        "resourceType": "Patient", "id": "p1", "active": true, "multipleBirthInteger": 2, "contact": [], "x": {},
        "name": [{"family": "O'Brien & \"Söhne\"", "given": ["<script>alert(1)</script>", "\u{7}\n\\"]}],
    });
    let page = page(&resource, &[]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&displayed_json(&page)).unwrap(), resource);
    assert!(page.contains("<h1>Patient <small>p1</small></h1>"));
}

#[test]
fn text_of_an_archive_never_becomes_markup() {
    let hostile = "\"><script>alert('x')</script><img src=x onerror=y>&lt;";
    let resource = serde_json::json!({
        "resourceType": hostile, "id": hostile, (hostile): hostile, "total": 1, "reference": format!("Patient/{hostile}"),
        "url": format!("https://h.example/x/fhir/{hostile}"), "link": [{"relation": "next", "url": format!("https://h.example/x/fhir/{hostile}")}],
    });
    let bundle =
        serde_json::json!({"resourceType": "Bundle", "entry": [{"fullUrl": hostile, "resource": resource}]});
    for page in [
        page(&resource, &[("name", hostile)]),
        page(&bundle, &[]),
        page(
            &serde_json::json!({"resourceType": "OperationOutcome", "issue": [{"severity": hostile, "diagnostics": hostile}]}),
            &[],
        ),
    ] {
        let after_style = page.split("</style>").nth(1).unwrap();
        for markup in ["<script", "<img", "onerror=y>", "'x'"] {
            assert!(!after_style.contains(markup), "{markup}: {after_style}");
        }
    }
}

#[test]
fn only_resources_of_this_server_are_linked() {
    let resource = serde_json::json!({
        "resourceType": "ImagingStudy",
        "subject": {"reference": "Patient/0a1b"},
        "endpoint": [{"reference": "Endpoint/main"}, {"reference": "Practitioner/1"}, {"reference": "Endpoint/a b"}],
        "url": "https://h.example/x/fhir/ImagingStudy?_cursor=1&x='2'",
        "elsewhere": ["https://hostile.example/x/fhir/Patient/1", "javascript:alert(1)", "https://h.example/x/fhir.hostile.example/", "Patient/1"],
        "whole": "https://h.example/x/fhir?_type=Patient",
    });
    let page = page(&resource, &[]);
    let pre = page.split("<pre>").nth(1).unwrap();
    assert_eq!(
        linked_urls(pre),
        [
            "https://h.example/x/fhir/Endpoint/main",
            "https://h.example/x/fhir/Patient/0a1b",
            "https://h.example/x/fhir/ImagingStudy?_cursor=1&x='2'",
            "https://h.example/x/fhir?_type=Patient",
        ]
    );
}

#[test]
fn a_bundle_links_to_its_other_pages_and_to_other_formats() {
    let link = |relation: &str| serde_json::json!({"relation": relation, "url": format!("https://h.example/x/fhir/Patient?{relation}")});
    let bundle = serde_json::json!({
        "resourceType": "Bundle", "type": "searchset", "total": 30, "link": [link("self"), link("first"), link("next")],
        "entry": [
            {"resource": {"resourceType": "Patient"}, "search": {"mode": "match"}},
            {"resource": {"resourceType": "ImagingStudy"}, "search": {"mode": "include"}},
            {"resource": {"resourceType": "OperationOutcome"}, "search": {"mode": "outcome"}},
        ],
    });
    let page = page(&bundle, &[("name", "a&b"), ("_format", "html"), ("_pretty", "true")]);
    assert!(page.contains("<p>30 in total, 1 on this page, 1 included</p>"));
    let head = page.split("<main>").next().unwrap();
    assert_eq!(
        linked_urls(head)[4..],
        [
            "https://h.example/x/fhir/Patient?first",
            "https://h.example/x/fhir/Patient?next",
            "?name=a%26b&_format=json&_pretty=true",
            "?name=a%26b&_format=application/xml&_pretty=true",
        ]
    );
}

#[test]
fn a_patient_links_to_the_studies_of_the_patient() {
    let head_urls = |resource: serde_json::Value| {
        let page = page(&resource, &[]);
        linked_urls(page.split("<main>").next().unwrap())
    };
    let studies = "https://h.example/x/fhir/ImagingStudy?patient=0a-.B";
    let patient = serde_json::json!({"resourceType": "Patient", "id": "0a-.B"});
    assert!(head_urls(patient).contains(&studies.to_owned()));
    for other in [
        serde_json::json!({"resourceType": "Patient", "id": "a&b"}),
        serde_json::json!({"resourceType": "Endpoint", "id": "main"}),
    ] {
        assert!(!head_urls(other).iter().any(|url| url.contains("?patient=")));
    }
}

#[test]
fn the_page_of_a_bundle_has_the_issues_and_a_list_of_the_entries_before_the_json() {
    let entry = |url: &str, resource| serde_json::json!({"fullUrl": url, "resource": resource});
    let bundle = serde_json::json!({"resourceType": "Bundle", "entry": [
        entry("https://h.example/x/fhir/ImagingStudy/1.2", serde_json::json!({
            "resourceType": "ImagingStudy", "id": "1.2", "started": "2024", "modality": [{"code": "CT"}, {"code": "SR"}], "description": "Head",
        })),
        entry("https://h.example/x/fhir/ImagingStudy/1.3", serde_json::json!({"resourceType": "ImagingStudy", "id": "1.3"})),
        entry("https://h.example/x/fhir/Patient/p", serde_json::json!({
            "resourceType": "Patient", "id": "p", "name": [{"text": "Jane Doe"}], "birthDate": "1970",
        })),
        entry("https://hostile.example/Endpoint/e", serde_json::json!({"resourceType": "Endpoint", "id": "e", "name": "<Main>"})),
        entry("https://h.example/x/fhir/Patient/n", serde_json::json!({
            "resourceType": "Patient", "id": "n", "gender": "other", "identifier": [{"value": "4711"}],
        })),
        entry("https://h.example/x/fhir/Patient/o", serde_json::json!({"resourceType": "Patient", "id": "o"})),
        {"resource": {"resourceType": "OperationOutcome", "issue": [{"severity": "warning", "diagnostics": "Left out."}]}},
    ]});
    let page = page(&bundle, &[]);
    let list = page.split("<ol class=\"entries\">").nth(1).unwrap().split("</ol>").next().unwrap();
    assert_eq!(
        list.split("<li>").skip(1).collect::<Vec<_>>(),
        [
            "<a href=\"https://h.example/x/fhir/ImagingStudy/1.2\">ImagingStudy/1.2</a> <span>2024 · CT, SR · Head</span>",
            "<a href=\"https://h.example/x/fhir/ImagingStudy/1.3\">ImagingStudy/1.3</a> <span>study without description</span>",
            "<a href=\"https://h.example/x/fhir/Patient/p\">Patient/p</a> <span>Jane Doe · 1970</span>",
            "Endpoint <span>&#60;Main&#62;</span>",
            "<a href=\"https://h.example/x/fhir/Patient/n\">Patient/n</a> <span>no name · 4711 · other</span>",
            "<a href=\"https://h.example/x/fhir/Patient/o\">Patient/o</a> <span>no name</span>",
        ]
    );
    let issues = page.split("<ul class=\"issues\">").nth(1).unwrap().split("</ul>").next().unwrap();
    assert!(issues.starts_with("<li class=\"warning\">Left out."), "{issues}");
    assert!(page.find("class=\"issues\"") < page.find("class=\"entries\""));
}

#[test]
fn the_page_of_an_operation_outcome_has_the_issues_before_the_json() {
    let outcome = serde_json::json!({
        "resourceType": "OperationOutcome",
        "issue": [{"severity": "error", "code": "value", "diagnostics": "A whole number.", "expression": ["http._count"]}],
    });
    let text = outcome.to_string();
    let page = render_page(&text, None, None).unwrap();
    assert!(page.contains("<li class=\"error\">A whole number. <code>value http._count</code>"));
    assert!(linked_urls(&page).is_empty(), "without a location there are no links");
    assert_eq!(render_page("[]", None, None), None);
}

#[test]
fn the_policy_allows_only_the_style_of_the_page() {
    let policy = content_security_policy();
    let policy = policy.to_str().unwrap();
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    assert!(policy.starts_with(&format!("default-src 'none'; style-src 'sha256-{hash}';")), "{policy}");
    let page = page(&serde_json::json!({"resourceType": "Patient"}), &[]);
    assert!(page.contains(&format!("<style>{STYLE}</style>")) && !page.contains(" style="));
}

#[test]
fn a_warning_is_above_the_resource_and_escaped() {
    let page =
        render_page(r#"{"resourceType":"Patient","id":"a"}"#, None, Some("archives failed: <b>")).unwrap();
    let warning = page.find("archives failed: &#60;b&#62;").unwrap();
    assert!(page.find("<main>").unwrap() < warning && warning < page.find("<pre>").unwrap(), "{page}");
}

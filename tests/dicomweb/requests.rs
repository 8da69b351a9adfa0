//! Upstream requests: the parts of a client request that the gateway forwards, and requests that it rejects.

use proptest::prelude::*;

use crate::support::archive_root::{ArchiveRoot, PUBLIC_URL};
use crate::support::client;
use crate::support::pacs::{CannedResponse, Pacs, Study};

#[tokio::test]
async fn searches_are_parsed_and_sent_in_canonical_form() {
    let pacs = Pacs::new().with_study(Study::new("1.2").series("1.2.1", "CT", 2)).start().await;
    let root = ArchiveRoot::start(&pacs).await;
    let rows =
        client::get(&root.url("studies?00100020=P1&limit=101&offset=0&includefield=00081030%2C00080060"))
            .await;
    assert_eq!((rows.status, rows.json().as_array().unwrap().len()), (200, 1));
    assert_eq!(
        pacs.targets(),
        ["/dicom-web/studies?PatientID=P1&includefield=00080060&includefield=00081030&limit=101"]
    );
}

#[tokio::test]
async fn matching_operators_are_sent_unescaped() {
    let pacs = Pacs::new().with_fallback(CannedResponse::json("[]")).start().await;
    let root = ArchiveRoot::start(&pacs).await;
    for query in [
        "PatientName=D%3Fe%2A",
        "StudyInstanceUID=1.2%2C1.3",
        "StudyInstanceUID=1.2%5C1.3",
        "StudyDate=20240101-20240131",
        "PatientID=a%26b%20c",
    ] {
        assert_eq!(client::get(&root.url(&format!("studies?{query}"))).await.status, 200);
    }
    assert_eq!(
        pacs.targets(),
        [
            "/dicom-web/studies?PatientName=D?e*",
            "/dicom-web/studies?StudyInstanceUID=1.2,1.3",
            "/dicom-web/studies?StudyInstanceUID=1.2,1.3",
            "/dicom-web/studies?StudyDate=20240101-20240131",
            "/dicom-web/studies?PatientID=a%26b%20c",
        ]
    );
}

#[tokio::test]
async fn ambiguous_or_invalid_targets_are_rejected_without_upstream_requests() {
    let pacs = Pacs::new().with_fallback(CannedResponse::json("[]")).start().await;
    let root = ArchiveRoot::start(&pacs).await;
    for target in [
        "studies/1.2.3/../9.9.9/metadata",
        "studies/1.2.3%2F..%2F9.9.9/metadata",
        "studies/%2e%2e/%2e%2e/patients",
        "..%2f..%2fpatients",
        "studies//1.2.3",
        "studies/%2531",
        "studies/1%002",
        "studies/1%5C2",
        "studies/1.2.3;x/metadata",
        "studies/1.2.3\\..\\9/metadata",
        "studies/1..2",
        "studies/1.2.3/series/x/metadata",
        "studies/1.2.3/series/1.2/instances/1.3/frames/0",
        "studies?PatientID=P1&PatientID=P2",
        "studies?PatientID=P1&00100020=*",
        "studies?NoSuchAttr=1",
        "studies?patientid=P1",
        "studies?ProcedureCodeSequence.CodeValue=1",
        "studies?limit=-1",
        "studies?limit=abc",
        "studies?offset=1000001",
        "studies?PatientID=%00",
        "studies?PatientID=a%0d%0aX:%20y",
        "studies?PatientID=%zz",
        "studies?PatientID=%ff",
        "studies?ModalitiesInStudy=CT%5CMR",
        "studies?PatientName=Doe%5CRoe",
        "studies?token=1",
    ] {
        let response = client::get(&root.url(target)).await;
        assert_eq!(response.status, 400, "{target}: {}", response.text());
    }
    for target in ["patients", "system", "studies/1.2.3/archive", "app/explorer.html"] {
        assert_eq!(client::get(&root.url(target)).await.status, 404, "{target}");
    }
    for target in ["studies/", "studies/1.2.3/", "studies/1.2.3/metadata/"] {
        let response = client::get(&root.url(target)).await;
        assert_eq!(response.status, 404, "{target}");
        assert!(response.text().contains("remove the slash at the end"), "{target}: {}", response.text());
    }
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        for url in [root.url("studies"), root.url("studies").replace("/main/", "/")] {
            let response = client::send(method, &url, &[]).await;
            assert_eq!(
                (response.status, response.header("allow")),
                (405, Some("GET, HEAD, OPTIONS")),
                "{method} {url}"
            );
        }
    }
    assert_eq!(pacs.targets(), [""; 0]);
}

#[tokio::test]
async fn invalid_match_values_are_rejected_with_the_parameter_and_its_form() {
    let pacs = Pacs::new().with_fallback(CannedResponse::json("[]")).start().await;
    let root = ArchiveRoot::start(&pacs).await;
    let urls = [root.url("studies"), root.url("studies").replace("/main/", "/")];
    for (name, value, form) in [
        ("StudyDate", "2024-01-01", "YYYYMMDD"),
        ("StudyDate", "20241301", "YYYYMMDD"),
        ("PatientBirthDate", "foo", "YYYYMMDD"),
        ("StudyTime", "foo", "HHMMSS"),
        ("StudyInstanceUID", "1.2.x", "numeric components"),
    ] {
        for url in &urls {
            let response = client::get(&format!("{url}?{name}={value}")).await;
            assert_eq!(response.status, 400, "{name}={value}: {}", response.text());
            let message = response.json()["message"].as_str().unwrap().to_owned();
            assert!(message.starts_with(&format!("\"{name}\" must be ")), "{message}");
            assert!(message.contains(form) && !message.contains(value), "{message}");
        }
    }
    assert_eq!(pacs.targets(), [""; 0]);
}

#[tokio::test]
async fn only_allowed_request_headers_are_sent_upstream() {
    let pacs = Pacs::new().with_fallback(CannedResponse::bytes("image/png", "x")).start().await;
    let root = ArchiveRoot::start(&pacs).await;
    let headers = [
        ("Accept", "image/png"),
        ("Range", "bytes=0-1"),
        ("If-None-Match", "\"a\""),
        ("If-Modified-Since", "Sat, 29 Oct 1994 19:43:31 GMT"),
        ("If-Range", "\"a\""),
        ("Authorization", "Bearer of-the-client"),
        ("Cookie", "session=1"),
        ("Forwarded", "host=evil"),
        ("X-Forwarded-Host", "evil"),
        ("X-Forwarded-For", "1.2.3.4"),
        ("X-Patient", "P1"),
        ("Accept-Encoding", "br"),
        ("Referer", "https://evil/"),
        ("User-Agent", "viewer"),
        ("Origin", "https://evil"),
    ];
    client::get_with_headers(&root.url("studies/1.2/rendered"), &headers).await;
    let request = pacs.requests().remove(0);
    let mut names: Vec<_> = request.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "accept",
            "accept-encoding",
            "host",
            "if-modified-since",
            "if-none-match",
            "if-range",
            "range",
            "user-agent"
        ]
    );
    assert_eq!(request.header("host"), Some(pacs.authority().as_str()));
    assert_eq!(request.header("accept-encoding"), Some("identity"));
    assert!(request.header("user-agent").unwrap().starts_with("dicomweb-gateway/"));
}

#[tokio::test]
async fn the_accept_parameter_replaces_the_header() {
    let pacs = Pacs::new().with_fallback(CannedResponse::bytes("image/jpeg", "x")).start().await;
    let root = ArchiveRoot::start(&pacs).await;
    let target = root.url("studies/1.2/rendered?accept=image/jpeg&quality=80&window=40,400,linear");
    client::get_with_headers(&target, &[("Accept", "text/html")]).await;
    assert_eq!(pacs.requests()[0].header("accept"), Some("image/jpeg"));
    assert_eq!(pacs.targets(), ["/dicom-web/studies/1.2/rendered?quality=80&window=40,400,linear"]);
}

#[tokio::test]
async fn a_plus_sign_in_the_accept_parameter_is_not_a_space() {
    let pacs = Pacs::new().with_study(Study::new("1.2").series("1.2.1", "CT", 1)).start().await;
    let root = ArchiveRoot::start(&pacs).await;
    for (target, content_type) in [
        ("studies?accept=application/dicom+json", "application/dicom+json"),
        ("studies?accept=application/dicom%2Bjson", "application/dicom+json"),
        ("studies?accept=image/png,application/dicom+json;q=0.5", "application/dicom+json"),
        ("studies/1.2/metadata?accept=application/dicom+json", "application/dicom+json"),
        (
            "studies?accept=multipart/related;+type=%22application/dicom+xml%22",
            "multipart/related; type=\"application/dicom+xml\"; boundary=dicomweb-gateway-part",
        ),
    ] {
        let response = client::get_with_headers(&root.url(target), &[("Accept", "text/html")]).await;
        assert_eq!((response.status, response.header("content-type")), (200, Some(content_type)), "{target}");
    }
}

#[tokio::test]
async fn unknown_parameters_of_retrievals_are_omitted() {
    let pacs = Pacs::new()
        .with_study(Study::new("1.2").series("1.2.1", "CT", 1))
        .with_response("/studies/1.2/rendered", CannedResponse::bytes("image/jpeg", "x"))
        .with_response("/studies/1.2/bulkdata/1", CannedResponse::bytes("application/octet-stream", "x"))
        .with_response("/uri/wado", CannedResponse::bytes("image/jpeg", "x"))
        .start()
        .await;
    let config = format!("wado_uri_url = \"{}/uri/wado\"", pacs.url());
    let root = ArchiveRoot::start_with_config(&pacs.url(), &config).await;
    let uids = "requestType=WADO&studyUID=1.2&seriesUID=1.2.1&objectUID=1.2.1.1";
    for (target, sent) in [
        ("studies/1.2/metadata?_=123".to_owned(), "studies/1.2/metadata".to_owned()),
        (
            "studies/1.2/rendered?token=x&quality=80&_=1&_=2".to_owned(),
            "studies/1.2/rendered?quality=80".to_owned(),
        ),
        ("studies/1.2/bulkdata/1?window=1&token".to_owned(), "studies/1.2/bulkdata/1".to_owned()),
        (format!("wado?{uids}&token=x"), format!("uri/wado?{uids}")),
    ] {
        let response = client::get(&root.url(&target)).await;
        assert_eq!(response.status, 200, "{target}: {}", response.text());
        assert_eq!(pacs.targets().pop().unwrap(), format!("/dicom-web/{sent}"));
    }
    assert_eq!(client::get(&root.url("studies/1.2/rendered?quality=0&token=x")).await.status, 400);
}

#[tokio::test]
async fn charsets_other_than_utf_8_are_not_acceptable() {
    let pacs = Pacs::new().with_study(Study::new("1.2").series("1.2.1", "CT", 1)).start().await;
    let root = ArchiveRoot::start(&pacs).await;
    for (charset, status) in [
        ("utf-8", 200),
        ("UTF-8", 200),
        ("iso-8859-1,utf-8;q=0.5", 200),
        ("iso-8859-1", 406),
        ("ISO_IR%20100", 406),
        ("utf-8;q=0", 406),
    ] {
        for target in ["studies", "studies/1.2/series", "studies/1.2/metadata"] {
            let response = client::get(&root.url(&format!("{target}?charset={charset}"))).await;
            assert_eq!(response.status, status, "{target} {charset}");
        }
    }
}

/// PS3.18 8.9 defines the resource of the capabilities.
#[tokio::test]
async fn roots_return_a_wadl_document_and_resources_their_methods() {
    let pacs = Pacs::new().start().await;
    let root = ArchiveRoot::start(&pacs).await;
    let url = |target: &str| root.url(target).replace("/main/../", "/");
    for (target, base) in [("", PUBLIC_URL), ("../", PUBLIC_URL.trim_end_matches("/main"))] {
        for (method, accept) in [
            ("OPTIONS", "*/*"),
            ("GET", "application/vnd.sun.wadl+xml"),
            ("OPTIONS", "text/xml;q=0.5, text/html"),
        ] {
            for url in [url(target), url(target).trim_end_matches('/').to_owned()] {
                let response = client::send(method, &url, &[("Accept", accept)]).await;
                assert_eq!((response.status, response.is_complete), (200, true), "{method} {url}");
                let media_type =
                    if accept.starts_with("text") { "text/xml" } else { "application/vnd.sun.wadl+xml" };
                assert_eq!(response.header("content-type"), Some(media_type));
                assert_eq!(response.header("allow"), Some("GET, HEAD, OPTIONS"));
                let text = response.text();
                assert!(text.contains(&format!("<resources base=\"{base}/\">")), "{text}");
                assert!(text.contains("<resource path=\"studies/{study}/metadata\">"), "{text}");
            }
        }
        let rejected = client::send("OPTIONS", &url(target), &[("Accept", "application/json")]).await;
        assert_eq!(rejected.status, 406, "{target}");
        assert_eq!(client::send("HEAD", &url(target), &[]).await.status, 200);
        assert_eq!(client::send("POST", &url(target), &[]).await.status, 405);
    }
    for target in ["studies", "studies/1.2/metadata", "../studies/1.2", "../wado"] {
        let response = client::send("OPTIONS", &url(target), &[]).await;
        assert_eq!(
            (response.status, response.header("allow")),
            (204, Some("GET, HEAD, OPTIONS")),
            "{target}"
        );
    }
    let unknown_root = client::send("OPTIONS", &root.url("").replace("/main/", "/other/"), &[]).await;
    assert_eq!(unknown_root.status, 404);
    assert_eq!(pacs.targets(), [""; 0]);
}

#[tokio::test]
async fn configured_credentials_are_sent_and_upstream_challenges_are_not_forwarded() {
    let pacs = Pacs::new().with_study(Study::new("1.2")).require_basic_auth("gw", "hush").start().await;
    let without_credentials = ArchiveRoot::start(&pacs).await;
    let rejected = client::get_with_headers(
        &without_credentials.url("studies"),
        &[("Authorization", "Basic Z3c6aHVzaA==")],
    )
    .await;
    assert_eq!(rejected.status, 502);
    assert_eq!(rejected.header("www-authenticate"), None);
    let credentials = r#"auth = { kind = "basic", username = "gw", password = "hush" }"#;
    let with_credentials = ArchiveRoot::start_with_config(&pacs.url(), credentials).await;
    assert_eq!(client::get(&with_credentials.url("studies")).await.status, 200);
}

/// Whether an upstream target has the form of the targets that the gateway sends.
fn is_valid_target(target: &str) -> bool {
    let is_uid = |text: &str| {
        !text.is_empty()
            && text.len() <= 64
            && text.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let Some(path) = path.strip_prefix("/dicom-web/") else { return false };
    let resource_names = [
        "studies",
        "series",
        "instances",
        "metadata",
        "rendered",
        "thumbnail",
        "frames",
        "bulkdata",
        "bulk",
        "pixeldata",
    ];
    let is_segment = |text: &str| {
        resource_names.contains(&text)
            || is_uid(text)
            || text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-,".contains(&byte))
    };
    let is_pair = |text: &str| {
        text.split_once('=').is_some_and(|(key, value)| {
            key.bytes().all(|byte| byte.is_ascii_alphanumeric())
                && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~*,:%?/@".contains(&byte))
        })
    };
    path.split('/').all(|text| !matches!(text, "" | "." | "..") && is_segment(text))
        && (query.is_empty() || query.split('&').all(is_pair))
}

const TARGETS: &str =
    "[!-~]{0,30}|(studies|series|instances|1\\.2|\\.\\.|%2e|/|\\?|PatientID=|limit=|[a-z*%&=]|1){0,14}";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn arbitrary_requests_cause_only_valid_upstream_targets(targets in prop::collection::vec(TARGETS, 8)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let upstream_targets = runtime.block_on(async {
            let pacs = Pacs::new().with_fallback(CannedResponse::json("[]")).start().await;
            let root = ArchiveRoot::start(&pacs).await;
            for target in &targets {
                client::get(&root.url(target)).await;
            }
            pacs.targets()
        });
        for target in upstream_targets {
            prop_assert!(is_valid_target(&target), "{}", target);
        }
    }
}

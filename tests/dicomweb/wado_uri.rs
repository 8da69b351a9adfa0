//! The URI service (PS3.18 chapter 9) of archives that have one.

use crate::support::archive_root::ArchiveRoot;
use crate::support::client::{self, ReceivedResponse};
use crate::support::gateway::RunningGateway;
use crate::support::pacs::{CannedResponse, Pacs, RunningPacs, Study};

const UIDS: &str = "requestType=WADO&studyUID=1.2&seriesUID=1.2.3&objectUID=1.2.3.4";

/// Encodes the start of a Part 10 file: its first element is Media Storage SOP Instance UID.
fn file_with_uid(instance: &str) -> Vec<u8> {
    let mut file = [&[0; 128][..], b"DICM\x02\0\x03\0UI"].concat();
    file.extend(u16::try_from(instance.len()).unwrap().to_le_bytes());
    file.extend(instance.as_bytes());
    file.extend([7; 10_000]);
    file
}

async fn root(pacs: &RunningPacs) -> ArchiveRoot {
    ArchiveRoot::start_with_config(&pacs.url(), &format!("wado_uri_url = \"{}/uri/wado\"", pacs.url())).await
}

async fn get(root: &ArchiveRoot, query: &str) -> ReceivedResponse {
    client::get(&root.url(&format!("wado?{query}"))).await
}

#[tokio::test]
async fn objects_are_forwarded_byte_for_byte_and_queries_sent_in_canonical_form() {
    let pacs = Pacs::new()
        .with_response("/uri/wado", CannedResponse::bytes("application/dicom", file_with_uid("1.2.3.4")))
        .start()
        .await;
    let root = root(&pacs).await;
    let query = "objectUID=1.2.3.4&contentType=application%2Fdicom&seriesUID=1.2.3&transferSyntax=1.2.840.10008.1.2.1&\
                 studyUID=1.2&requestType=WADO";
    let response = get(&root, query).await;
    assert_eq!((response.status, response.is_complete), (200, true));
    assert_eq!(response.header("content-type"), Some("application/dicom"));
    assert_eq!(response.body, file_with_uid("1.2.3.4"));
    let target = format!(
        "/dicom-web/uri/wado?{UIDS}&contentType=application/dicom&transferSyntax=1.2.840.10008.1.2.1"
    );
    assert_eq!(pacs.targets(), [target]);
    let head = client::send("HEAD", &root.url(&format!("wado?{UIDS}")), &[]).await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("10147")));
}

#[tokio::test]
async fn rendering_parameters_are_sent_upstream_and_html_is_forwarded_only_if_requested() {
    let pacs = Pacs::new()
        .with_responses(
            "/uri/wado",
            [
                CannedResponse::bytes("image/jpeg", "jpeg"),
                CannedResponse::html("<script>login()</script>"),
                CannedResponse::html("<p>report</p>"),
                CannedResponse::bytes("text/plain", "at 1").with_status(500),
            ],
        )
        .start()
        .await;
    let root = root(&pacs).await;
    let parameters =
        "rows=64&columns=64&windowCenter=40&windowWidth=400&frameNumber=2&region=0,0,0.5,0.5&imageQuality=80";
    let rendered = get(&root, &format!("{UIDS}&{parameters}&annotation=patient,technique")).await;
    assert_eq!((rendered.status, rendered.text().as_str()), (200, "jpeg"));
    assert!(
        pacs.targets()[0].ends_with(&format!("{parameters}&annotation=patient,technique")),
        "{:?}",
        pacs.targets()
    );
    assert_eq!(get(&root, UIDS).await.status, 502, "a login page was forwarded");
    let page = get(&root, &format!("{UIDS}&contentType=text/html")).await;
    assert_eq!((page.status, page.text().as_str()), (200, "<p>report</p>"));
    assert_eq!(page.header("content-security-policy"), Some("default-src 'none'; sandbox"));
    let failed = get(&root, UIDS).await;
    assert!(failed.status == 502 && !failed.text().contains("at 1"), "{}", failed.text());
}

#[tokio::test]
async fn invalid_requests_cause_no_upstream_request() {
    let pacs = Pacs::new().with_fallback(CannedResponse::bytes("application/dicom", "x")).start().await;
    let root = root(&pacs).await;
    for query in [
        "",
        "requestType=WADO&studyUID=1.2&seriesUID=1.2.3",
        "requestType=wado&studyUID=1.2&seriesUID=1.2.3&objectUID=1.2.3.4",
        "requestType=WADO&studyUID=1.2&seriesUID=1.2.3&objectUID=1.2.3.4&objectUID=9",
        "requestType=WADO&studyUID=1.2/..&seriesUID=1.2.3&objectUID=1.2.3.4",
        &format!("{UIDS}&studyUID=9"),
        &format!("{UIDS}&rows=1&rows=2"),
        &format!("{UIDS}&rows=-1"),
        &format!("{UIDS}&contentType=application/dicom&rows=1"),
        &format!("{UIDS}&anonymize=yes"),
        &format!("{UIDS}&contentType=application/dicom&anonymize=no"),
        &format!("{UIDS}&windowCenter=1"),
        &format!("{UIDS}&contentType=image/png%26x=1"),
        &format!("{UIDS}&charset=%zz"),
    ] {
        let response = get(&root, query).await;
        assert_eq!(response.status, 400, "{query}: {}", response.text());
    }
    assert_eq!(client::send("POST", &root.url(&format!("wado?{UIDS}")), &[]).await.status, 405);
    assert_eq!(pacs.targets(), [""; 0]);
    let unsupported = get(&ArchiveRoot::start(&pacs).await, UIDS).await;
    assert!(
        unsupported.status == 404 && unsupported.text().contains("not configured (main)"),
        "{}",
        unsupported.text()
    );
}

#[tokio::test]
async fn objects_that_were_not_anonymized_are_rejected_if_anonymization_was_requested() {
    let pause = std::time::Duration::from_millis(1);
    let pacs = Pacs::new()
        .with_responses(
            "/uri/wado",
            [
                CannedResponse::bytes("application/dicom", file_with_uid("2.25.1")),
                CannedResponse::bytes("application/dicom", file_with_uid("1.2.3.4")),
                CannedResponse::bytes("application/dicom", file_with_uid("1.2.3.4")).in_pieces(100, pause),
            ],
        )
        .start()
        .await;
    let root = root(&pacs).await;
    let url = root.url(&format!("wado?{UIDS}&contentType=application/dicom&anonymize=yes"));
    let anonymous = client::get_with_headers(&url, &[("Range", "bytes=500-")]).await;
    assert_eq!((anonymous.status, anonymous.is_complete), (200, true));
    assert_eq!(anonymous.body, file_with_uid("2.25.1"));
    assert_eq!(pacs.requests()[0].header("range"), None);
    for _ in 0..2 {
        let not_anonymized = client::get(&url).await;
        assert_eq!(not_anonymized.status, 501, "{}", not_anonymized.text());
        assert!(!not_anonymized.text().contains("1.2.3.4"));
    }
}

#[tokio::test]
async fn the_aggregate_root_forwards_to_an_archive_that_holds_the_object_and_has_the_service() {
    let archive_with = |study: &str, file_uid: &str| {
        let study = Study::new(study).series(&format!("{study}.3"), "CT", 1);
        Pacs::new()
            .with_study(study)
            .with_response("/uri/wado", CannedResponse::bytes("application/dicom", file_with_uid(file_uid)))
            .start()
    };
    let without_object = archive_with("1.8", "9.1").await;
    let without_service = archive_with("1.2", "9.2").await;
    let with_both = archive_with("1.2", "9.3").await;
    let service = |pacs: &RunningPacs| format!("wado_uri_url = \"{}/uri/wado\"\n", pacs.url());
    let archive = |id: &str, pacs: &RunningPacs, service: &str| {
        format!("[[archive]]\nid = \"{id}\"\nurl = \"{}\"\n{service}", pacs.url())
    };
    let second = archive("second", &without_service, "");
    let third = archive("third", &with_both, &service(&with_both));
    let gateway =
        RunningGateway::start(&without_object.url(), &format!("{}{second}{third}", service(&without_object)))
            .await;
    let found = gateway.get(&format!("/dicom-web/wado?{UIDS}")).await;
    assert_eq!((found.status, found.is_complete), (200, true), "{}", found.text());
    assert_eq!(found.body, file_with_uid("9.3"));
    let unknown_study = UIDS.replace("studyUID=1.2&", "studyUID=1.9&");
    assert_eq!(gateway.get(&format!("/dicom-web/wado?{unknown_study}")).await.status, 404);
    assert_eq!(gateway.get("/dicom-web/wado?requestType=WADO").await.status, 400);
    let has_wado_request =
        |pacs: &RunningPacs| pacs.targets().iter().any(|target| target.contains("/uri/wado"));
    assert!(!has_wado_request(&without_object));
    assert!(!has_wado_request(&without_service));
    assert!(has_wado_request(&with_both));

    let gateway = RunningGateway::start(&without_object.url(), &second).await;
    let unsupported = gateway.get(&format!("/dicom-web/wado?{UIDS}")).await;
    assert!(
        unsupported.status == 404 && unsupported.text().contains("not configured (second)"),
        "{}",
        unsupported.text()
    );
}

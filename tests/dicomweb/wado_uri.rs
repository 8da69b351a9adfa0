//! The URI service (PS3.18 chapter 9) of archives that have one.

use crate::support::archive_root::ArchiveRoot;
use crate::support::client::{self, ReceivedResponse};
use crate::support::gateway::RunningGateway;
use crate::support::pacs::{CannedResponse, Pacs, RunningPacs, Study};

const UIDS: &str = "requestType=WADO&studyUID=1.2&seriesUID=1.2.3&objectUID=1.2.3.4";

/// The beginning of a Part 10 file, with its Media Storage SOP Instance UID.
fn file_of(instance: &str) -> Vec<u8> {
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
        .with_response("/uri/wado", CannedResponse::bytes("application/dicom", file_of("1.2.3.4")))
        .start()
        .await;
    let root = root(&pacs).await;
    let query = "objectUID=1.2.3.4&contentType=application%2Fdicom&seriesUID=1.2.3&transferSyntax=1.2.840.10008.1.2.1&\
                 studyUID=1.2&requestType=WADO";
    let answer = get(&root, query).await;
    assert_eq!((answer.status, answer.is_complete), (200, true));
    assert_eq!(answer.header("content-type"), Some("application/dicom"));
    assert_eq!(answer.body, file_of("1.2.3.4"));
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
    let rendering =
        "rows=64&columns=64&windowCenter=40&windowWidth=400&frameNumber=2&region=0,0,0.5,0.5&imageQuality=80";
    let image = get(&root, &format!("{UIDS}&{rendering}&annotation=patient,technique")).await;
    assert_eq!((image.status, image.text().as_str()), (200, "jpeg"));
    assert!(
        pacs.targets()[0].ends_with(&format!("{rendering}&annotation=patient,technique")),
        "{:?}",
        pacs.targets()
    );
    assert_eq!(get(&root, UIDS).await.status, 502, "a login page");
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
        let answer = get(&root, query).await;
        assert_eq!(answer.status, 400, "{query}: {}", answer.text());
    }
    assert_eq!(client::send("POST", &root.url(&format!("wado?{UIDS}")), &[]).await.status, 405);
    assert_eq!(pacs.targets(), [""; 0]);
    let none = get(&ArchiveRoot::start(&pacs).await, UIDS).await;
    assert!(none.status == 404 && none.text().contains("wado_uri_url"), "{}", none.text());
}

#[tokio::test]
async fn objects_that_were_not_anonymized_are_rejected_if_anonymization_was_requested() {
    let slowly = std::time::Duration::from_millis(1);
    let pacs = Pacs::new()
        .with_responses(
            "/uri/wado",
            [
                CannedResponse::bytes("application/dicom", file_of("2.25.1")),
                CannedResponse::bytes("application/dicom", file_of("1.2.3.4")),
                CannedResponse::bytes("application/dicom", file_of("1.2.3.4")).in_pieces(100, slowly),
            ],
        )
        .start()
        .await;
    let root = root(&pacs).await;
    let url = root.url(&format!("wado?{UIDS}&contentType=application/dicom&anonymize=yes"));
    let anonymous = client::get_with_headers(&url, &[("Range", "bytes=500-")]).await;
    assert_eq!((anonymous.status, anonymous.is_complete), (200, true));
    assert_eq!(anonymous.body, file_of("2.25.1"));
    assert_eq!(pacs.requests()[0].header("range"), None);
    for _ in 0..2 {
        let named = client::get(&url).await;
        assert_eq!(named.status, 501, "{}", named.text());
        assert!(!named.text().contains("1.2.3.4"));
    }
}

#[tokio::test]
async fn the_aggregate_root_forwards_to_an_archive_that_holds_the_object_and_has_the_service() {
    let holder_of = |study: &str, file: &str| {
        let study = Study::new(study).series(&format!("{study}.3"), "CT", 1);
        Pacs::new()
            .with_study(study)
            .with_response("/uri/wado", CannedResponse::bytes("application/dicom", file_of(file)))
            .start()
    };
    let (empty, without) = (holder_of("1.8", "9.1").await, holder_of("1.2", "9.2").await);
    let with = holder_of("1.2", "9.3").await;
    let uri = |pacs: &RunningPacs| format!("wado_uri_url = \"{}/uri/wado\"\n", pacs.url());
    let archive = |id: &str, pacs: &RunningPacs, more: &str| {
        format!("[[archive]]\nid = \"{id}\"\nurl = \"{}\"\n{more}", pacs.url())
    };
    let (second, third) = (archive("second", &without, ""), archive("third", &with, &uri(&with)));
    let gateway = RunningGateway::start(&empty.url(), &format!("{}{second}{third}", uri(&empty))).await;
    let found = gateway.get(&format!("/dicom-web/wado?{UIDS}")).await;
    assert_eq!((found.status, found.is_complete), (200, true), "{}", found.text());
    assert_eq!(found.body, file_of("9.3"));
    let elsewhere = UIDS.replace("studyUID=1.2&", "studyUID=1.9&");
    assert_eq!(gateway.get(&format!("/dicom-web/wado?{elsewhere}")).await.status, 404);
    assert_eq!(gateway.get("/dicom-web/wado?requestType=WADO").await.status, 400);
    let was_queried = |pacs: &RunningPacs| pacs.targets().iter().any(|target| target.contains("/uri/wado"));
    assert!(!was_queried(&empty) && !was_queried(&without) && was_queried(&with));

    let unsupported = RunningGateway::start(&empty.url(), &second).await;
    let none = unsupported.get(&format!("/dicom-web/wado?{UIDS}")).await;
    assert!(none.status == 404 && none.text().contains("wado_uri_url"), "{}", none.text());
}

//! The aggregate root `/dicom-web/studies`, which presents all archives as one.

use std::fmt::Write;

use serde_json::Value;

use crate::support::client::ReceivedResponse;
use crate::support::gateway::RunningGateway;
use crate::support::pacs::{CannedResponse, Change, Pacs, Paging, RunningPacs, Study};

const PUBLIC_ROOT: &str = "https://gateway.example/imaging/dicom-web";

async fn start_gateway_for_urls(urls: &[&str]) -> RunningGateway {
    let mut config =
        String::from("[server]\npublic_url = \"https://gateway.example/imaging\"\n[search]\nmax_scan = 20\n");
    for (number, url) in urls.iter().enumerate().skip(1) {
        write!(config, "[[archive]]\nid = \"archive-{number}\"\nurl = \"{url}\"\n").unwrap();
    }
    RunningGateway::start(urls[0], &config).await
}

async fn start_gateway(archives: &[&RunningPacs]) -> RunningGateway {
    let urls: Vec<_> = archives.iter().map(|pacs| pacs.url()).collect();
    start_gateway_for_urls(&urls.iter().map(String::as_str).collect::<Vec<_>>()).await
}

async fn get(gateway: &RunningGateway, target: &str) -> ReceivedResponse {
    gateway.get(&format!("/dicom-web/{target}")).await
}

/// Returns the first value of `tag` in each row.
fn values(response: &ReceivedResponse, tag: &str) -> Vec<String> {
    assert_eq!(response.status, 200, "{}", response.text());
    let rows = response.json();
    let value = |row: &Value| row[tag]["Value"][0].as_str().unwrap_or_default().to_owned();
    rows.as_array().unwrap().iter().map(value).collect()
}

fn study_uids(response: &ReceivedResponse) -> Vec<String> {
    values(response, "0020000D")
}

fn warnings(response: &ReceivedResponse) -> Vec<&str> {
    response.headers.iter().filter(|(name, _)| name == "warning").map(|(_, value)| value.as_str()).collect()
}

async fn two_archives() -> (RunningPacs, RunningPacs) {
    let first = Pacs::new()
        .with_study(Study::new("1.1").series("1.1.1", "CT", 1))
        .with_study(Study::new("1.2").series("1.2.1", "CT", 2))
        .with_study(Study::new("1.3").series("1.3.1", "MR", 1))
        .with_base_url("http://first.inner")
        .start()
        .await;
    let second = Pacs::new()
        .with_study(Study::new("2.1").patient("P2", "Roe^Richard").series("2.1.1", "CT", 1))
        .with_study(Study::new("1.2").series("1.2.1", "CT", 2).series("1.2.2", "SR", 1))
        .with_study(Study::new("2.2").series("2.2.1", "MR", 1))
        .with_base_url("http://second.inner")
        .start()
        .await;
    (first, second)
}

#[tokio::test]
async fn searches_merge_the_rows_of_all_archives_by_uid() {
    let (first, second) = two_archives().await;
    let gateway = start_gateway(&[&first, &second]).await;
    let merged = get(&gateway, "studies").await;
    assert_eq!(study_uids(&merged), ["1.1", "2.1", "1.2", "1.3", "2.2"]);
    assert!(!merged.text().contains("inner") && !merged.text().contains("127.0.0.1"), "{}", merged.text());
    assert!(
        values(&merged, "00081190").iter().all(|url| url.starts_with(&format!("{PUBLIC_ROOT}/studies/")))
    );
    assert_eq!(merged.header("content-type"), Some("application/dicom+json"));
    assert!(warnings(&merged).is_empty());
    assert_eq!(study_uids(&get(&gateway, "studies?PatientID=P2").await), ["2.1"]);
    assert_eq!(get(&gateway, "studies?PatientID=unknown").await.text(), "[]");
    assert_eq!(get(&gateway, "studies?nonsense=1").await.status, 400);
}

#[tokio::test]
async fn pages_are_parts_of_the_list_and_warn_of_additional_results() {
    let (first, second) = two_archives().await;
    let gateway = start_gateway(&[&first, &second]).await;
    let complete = study_uids(&get(&gateway, "studies").await);
    for size in 1..=6 {
        let mut pages = Vec::new();
        loop {
            let page = get(&gateway, &format!("studies?limit={size}&offset={}", pages.len())).await;
            let rows = study_uids(&page);
            let has_next_page = warnings(&page).iter().any(|warning| warning.contains("additional results"));
            pages.extend(rows.iter().cloned());
            assert_eq!(has_next_page, pages.len() < complete.len(), "{size}: {pages:?}");
            if !has_next_page {
                break;
            }
            assert_eq!(rows.len(), size);
        }
        assert_eq!(pages, complete, "in pages of {size}");
    }
    assert_eq!(get(&gateway, "studies?limit=5&offset=100").await.status, 413, "beyond max_scan");
}

#[tokio::test]
async fn a_page_at_the_limit_of_rows_is_empty_only_if_the_list_ends_there() {
    let archive = |first: usize, count: usize| {
        let studies = (first..first + count).map(|number| Study::new(&format!("5.{number}")));
        studies.fold(Pacs::new(), Pacs::with_study).start()
    };
    for (counts, status) in [([10, 10], 200), ([10, 11], 413), ([15, 15], 413), ([20, 0], 200)] {
        let (first, second) = (archive(100, counts[0]).await, archive(200, counts[1]).await);
        let gateway = start_gateway(&[&first, &second]).await;
        let last_page = get(&gateway, "studies?limit=5&offset=15").await;
        assert_eq!(study_uids(&last_page).len(), 5, "{counts:?}");
        assert_eq!(warnings(&last_page).is_empty(), status == 200, "{counts:?}");
        let page = get(&gateway, "studies?limit=5&offset=20").await;
        assert_eq!(page.status, status, "{counts:?}: {}", page.text());
        assert!(status != 200 || page.text() == "[]", "{}", page.text());
    }
}

#[tokio::test]
async fn archives_that_ignore_paging_are_paged_by_the_gateway() {
    let mut pacs = Pacs::new().with_paging(Paging::Ignored);
    for number in 1..=9 {
        pacs = pacs.with_study(Study::new(&format!("3.{number}")).series("3.1.1", "CT", 1));
    }
    let (first, _) = two_archives().await;
    let third = pacs.start().await;
    let gateway = start_gateway(&[&first, &third]).await;
    assert_eq!(study_uids(&get(&gateway, "studies?limit=3&offset=5").await), ["3.3", "3.4", "3.5"]);
}

#[tokio::test]
async fn a_list_that_is_not_complete_is_an_error() {
    let (first, _) = two_archives().await;
    for failure in [
        CannedResponse::status(500),
        CannedResponse::status(503),
        CannedResponse::json("[{\"0020000D\":{\"vr\":\"UI\",\"Value\":[\"1.9\"]}}").with_status(200),
        CannedResponse::json("[{}]"),
        CannedResponse::status(404),
    ] {
        let pacs = Pacs::new().with_fallback(failure.clone()).start().await;
        let gateway = start_gateway(&[&first, &pacs]).await;
        let response = get(&gateway, "studies").await;
        assert!(response.status >= 500, "{failure:?}: {}", response.text());
        assert!(response.text().contains("archive-1"), "{}", response.text());
    }
    let mut pacs = Pacs::new();
    for number in 1..=21 {
        pacs = pacs.with_study(Study::new(&format!("4.{number}")));
    }
    let above_max_scan = pacs.start().await;
    let gateway = start_gateway(&[&first, &above_max_scan]).await;
    assert_eq!(get(&gateway, "studies").await.status, 413);
    assert_eq!(study_uids(&get(&gateway, "studies?limit=4").await).len(), 4);
}

fn pacs_with_studies(count: usize) -> Pacs {
    (1..=count).fold(Pacs::new(), |pacs, number| pacs.with_study(Study::new(&format!("5.{number}"))))
}

#[tokio::test]
async fn a_list_that_changes_while_it_is_read_is_read_again() {
    for (change, first_number) in
        [(Change::Deleted("5.1".to_owned()), 2), (Change::Added(Study::new("5.0")), 0)]
    {
        let pacs = pacs_with_studies(15)
            .with_paging(Paging::Truncated(5))
            .change_after_searches(2, change)
            .start()
            .await;
        let gateway = start_gateway(&[&pacs]).await;
        let expected: Vec<_> = (first_number..=15).map(|number| format!("5.{number}")).collect();
        assert_eq!(study_uids(&get(&gateway, "studies").await), expected);
    }
}

#[tokio::test]
async fn a_list_that_keeps_changing_is_a_temporary_error() {
    let changing = |pacs: Pacs, search| {
        pacs.change_after_searches(search, Change::Added(Study::new(&format!("5.{}", 100 + search))))
    };
    let pacs = [2, 5, 8]
        .into_iter()
        .fold(pacs_with_studies(12).with_paging(Paging::Truncated(5)), changing)
        .start()
        .await;
    let gateway = start_gateway(&[&pacs]).await;
    let response = get(&gateway, "studies").await;
    assert_eq!(response.status, 503, "{}", response.text());
    assert!(response.header("retry-after").is_some());
    assert!(response.text().contains("changed its list"), "{}", response.text());
    assert_eq!(study_uids(&get(&gateway, "studies").await).len(), 15);
}

#[tokio::test]
async fn a_truncated_list_is_rejected() {
    let pacs = pacs_with_studies(520).with_paging(Paging::OffsetIgnored).start().await;
    let gateway = RunningGateway::start(&pacs.url(), "[search]\nmax_scan = 1000\n").await;
    let response = get(&gateway, "studies").await;
    assert_eq!(response.status, 413, "{}", response.text());
    assert!(response.text().contains("truncates its list"), "{}", response.text());
    assert_eq!(study_uids(&get(&gateway, "studies?limit=10&offset=20").await).len(), 10);
}

#[tokio::test]
async fn resources_of_a_study_come_from_the_archive_that_holds_it() {
    let (first, second) = two_archives().await;
    let gateway = start_gateway(&[&first, &second]).await;
    for target in [
        "studies/2.1/series",
        "studies/2.1/instances",
        "studies/2.1/metadata",
        "studies/2.1/series/2.1.1/metadata",
    ] {
        let response = get(&gateway, target).await;
        assert_eq!(study_uids(&response), ["2.1"], "{target}");
        assert!(response.text().contains(&format!("\"{PUBLIC_ROOT}/studies/2.1/")), "{}", response.text());
    }
    let is_search = |target: &String| target.contains("/studies?") || target.contains("/studies/2.1/series?");
    assert!(first.targets().iter().all(is_search), "the gateway only searches for the study");
    assert_eq!(get(&gateway, "studies/9.9/series").await.text(), "[]");
    assert_eq!(get(&gateway, "studies/9.9/metadata").await.status, 404);
    assert_eq!(get(&gateway, "studies/9.9/series?nonsense=1").await.status, 400);
    assert_eq!(get(&gateway, "studies/2.1/series/9.9/metadata").await.status, 404);
}

#[tokio::test]
async fn an_unreachable_archive_fails_every_list_and_retrieval() {
    let (first, _) = two_archives().await;
    let gateway = start_gateway_for_urls(&[&first.url(), "http://127.0.0.1:9/dicom-web"]).await;
    for target in [
        "studies",
        "studies/1.3/series",
        "studies/1.3/metadata",
        "studies/1.3/series/1.3.1/instances/1.3.1.1/metadata",
        "studies/2.1/metadata",
    ] {
        let response = get(&gateway, target).await;
        assert_eq!(response.status, 503, "the unreachable archive may contain a part of it: {target}");
        assert!(response.text().contains("archive-1"), "{}", response.text());
    }
    assert_eq!(get(&gateway, "main/studies/1.3/metadata").await.status, 200);
}

#[tokio::test]
async fn a_query_that_an_archive_rejects_has_the_same_status_at_the_root_of_the_archive() {
    let (first, _) = two_archives().await;
    for (upstream, status) in
        [(400, 400), (413, 413), (501, 501), (404, 502), (406, 502), (409, 502), (500, 502)]
    {
        let second = Pacs::new().with_response("/studies", CannedResponse::status(upstream)).start().await;
        let gateway = start_gateway(&[&first, &second]).await;
        let rejection = get(&gateway, "studies?StudyDate=20241201").await;
        assert_eq!(rejection.status, status, "{upstream}: {}", rejection.text());
        assert!(rejection.text().contains("rchive archive-1 "), "{upstream}: {}", rejection.text());
        if matches!(upstream, 400 | 413 | 501) {
            let archive_rejection = get(&gateway, "archive-1/studies?StudyDate=20241201").await;
            assert_eq!(rejection.text(), archive_rejection.text(), "{upstream}");
        }
    }
}

#[tokio::test]
async fn a_rejected_search_that_the_gateway_itself_needs_is_reported_as_502() {
    let (first, _) = two_archives().await;
    let second = Pacs::new().with_fallback(CannedResponse::status(400)).start().await;
    let gateway = start_gateway(&[&first, &second]).await;
    assert_eq!(get(&gateway, "studies/9.9").await.status, 502);
}

//! The aggregate root `/dicom-web/studies`: all archives as one.

use std::fmt::Write;

use serde_json::Value;

use crate::support::client::ReceivedResponse;
use crate::support::gateway::RunningGateway;
use crate::support::pacs::{CannedResponse, Change, Pacs, Paging, RunningPacs, Study};

const PUBLIC_URL: &str = "https://gateway.example/imaging/dicom-web";

async fn gateway(archives: &[&str]) -> RunningGateway {
    let mut more =
        String::from("[server]\npublic_url = \"https://gateway.example/imaging\"\n[search]\nmax_scan = 20\n");
    for (number, url) in archives.iter().enumerate().skip(1) {
        write!(more, "[[archive]]\nid = \"archive-{number}\"\nurl = \"{url}\"\n").unwrap();
    }
    RunningGateway::start(archives[0], &more).await
}

async fn gateway_for(archives: &[&RunningPacs]) -> RunningGateway {
    let urls: Vec<_> = archives.iter().map(|pacs| pacs.url()).collect();
    gateway(&urls.iter().map(String::as_str).collect::<Vec<_>>()).await
}

async fn get(gateway: &RunningGateway, target: &str) -> ReceivedResponse {
    gateway.get(&format!("/dicom-web/{target}")).await
}

fn values(answer: &ReceivedResponse, tag: &str) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let rows = answer.json();
    let text = |row: &Value| row[tag]["Value"][0].as_str().unwrap_or_default().to_owned();
    rows.as_array().unwrap().iter().map(text).collect()
}

fn studies(answer: &ReceivedResponse) -> Vec<String> {
    values(answer, "0020000D")
}

fn warnings(answer: &ReceivedResponse) -> Vec<&str> {
    answer.headers.iter().filter(|(name, _)| name == "warning").map(|(_, value)| value.as_str()).collect()
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
    let gateway = gateway_for(&[&first, &second]).await;
    let all = get(&gateway, "studies").await;
    assert_eq!(studies(&all), ["1.1", "2.1", "1.2", "1.3", "2.2"]);
    assert!(!all.text().contains("inner") && !all.text().contains("127.0.0.1"), "{}", all.text());
    assert!(values(&all, "00081190").iter().all(|url| url.starts_with(&format!("{PUBLIC_URL}/studies/"))));
    assert_eq!(all.header("content-type"), Some("application/dicom+json"));
    assert!(warnings(&all).is_empty());
    assert_eq!(studies(&get(&gateway, "studies?PatientID=P2").await), ["2.1"]);
    assert_eq!(get(&gateway, "studies?PatientID=none").await.text(), "[]");
    assert_eq!(get(&gateway, "studies?nonsense=1").await.status, 400);
}

#[tokio::test]
async fn pages_add_up_to_the_list_and_warn_of_additional_results() {
    let (first, second) = two_archives().await;
    let gateway = gateway_for(&[&first, &second]).await;
    let whole = studies(&get(&gateway, "studies").await);
    for size in 1..=6 {
        let mut pages = Vec::new();
        loop {
            let page = get(&gateway, &format!("studies?limit={size}&offset={}", pages.len())).await;
            let rows = studies(&page);
            let goes_on = warnings(&page).iter().any(|warning| warning.contains("additional results"));
            pages.extend(rows.iter().cloned());
            assert_eq!(goes_on, pages.len() < whole.len(), "{size}: {pages:?}");
            if !goes_on {
                break;
            }
            assert_eq!(rows.len(), size);
        }
        assert_eq!(pages, whole, "in pages of {size}");
    }
    assert_eq!(get(&gateway, "studies?limit=5&offset=100").await.status, 413, "beyond max_scan");
}

#[tokio::test]
async fn archives_that_ignore_paging_are_paged_by_the_gateway() {
    let mut pacs = Pacs::new().with_paging(Paging::Ignored);
    for number in 1..=9 {
        pacs = pacs.with_study(Study::new(&format!("3.{number}")).series("3.1.1", "CT", 1));
    }
    let (third, (first, _)) = (pacs.start().await, two_archives().await);
    let gateway = gateway_for(&[&first, &third]).await;
    assert_eq!(studies(&get(&gateway, "studies?limit=3&offset=5").await), ["3.3", "3.4", "3.5"]);
}

#[tokio::test]
async fn lists_are_complete_or_an_error() {
    let (first, _) = two_archives().await;
    for broken in [
        CannedResponse::status(500),
        CannedResponse::status(503),
        CannedResponse::json("[{\"0020000D\":{\"vr\":\"UI\",\"Value\":[\"1.9\"]}}").with_status(200),
        CannedResponse::json("[{}]"),
        CannedResponse::status(404),
    ] {
        let pacs = Pacs::new().with_fallback(broken.clone()).start().await;
        let gateway = gateway_for(&[&first, &pacs]).await;
        let answer = get(&gateway, "studies").await;
        assert!(answer.status >= 500, "{broken:?}: {}", answer.text());
        assert!(answer.text().contains("archive-1"), "{}", answer.text());
    }
    let mut many = Pacs::new();
    for number in 1..=21 {
        many = many.with_study(Study::new(&format!("4.{number}")));
    }
    let many = many.start().await;
    let gateway = gateway_for(&[&first, &many]).await;
    assert_eq!(get(&gateway, "studies").await.status, 413);
    assert_eq!(studies(&get(&gateway, "studies?limit=4").await).len(), 4);
}

fn listing(count: usize) -> Pacs {
    (1..=count).fold(Pacs::new(), |pacs, number| pacs.with_study(Study::new(&format!("5.{number}"))))
}

#[tokio::test]
async fn a_list_that_changes_while_it_is_read_is_read_again() {
    for (change, first) in [(Change::Deleted("5.1".to_owned()), 2), (Change::Added(Study::new("5.0")), 0)] {
        let pacs =
            listing(15).with_paging(Paging::Truncated(5)).change_after_searches(2, change).start().await;
        let gateway = gateway_for(&[&pacs]).await;
        let expected: Vec<_> = (first..=15).map(|number| format!("5.{number}")).collect();
        assert_eq!(studies(&get(&gateway, "studies").await), expected);
    }
}

#[tokio::test]
async fn a_list_that_keeps_changing_is_a_temporary_error() {
    let changing = |pacs: Pacs, search| {
        pacs.change_after_searches(search, Change::Added(Study::new(&format!("5.{}", 100 + search))))
    };
    let pacs =
        [2, 5, 8].into_iter().fold(listing(12).with_paging(Paging::Truncated(5)), changing).start().await;
    let gateway = gateway_for(&[&pacs]).await;
    let answer = get(&gateway, "studies").await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.header("retry-after").is_some());
    assert!(answer.text().contains("changed its list"), "{}", answer.text());
    assert_eq!(studies(&get(&gateway, "studies").await).len(), 15);
}

#[tokio::test]
async fn a_truncated_list_is_rejected() {
    let pacs = listing(520).with_paging(Paging::OffsetIgnored).start().await;
    let gateway = RunningGateway::start(&pacs.url(), "[search]\nmax_scan = 1000\n").await;
    let answer = get(&gateway, "studies").await;
    assert_eq!(answer.status, 413, "{}", answer.text());
    assert!(answer.text().contains("truncates its list"), "{}", answer.text());
    assert_eq!(studies(&get(&gateway, "studies?limit=10&offset=20").await).len(), 10);
}

#[tokio::test]
async fn resources_of_a_study_come_from_the_archive_that_holds_it() {
    let (first, second) = two_archives().await;
    let gateway = gateway_for(&[&first, &second]).await;
    for target in [
        "studies/2.1/series",
        "studies/2.1/instances",
        "studies/2.1/metadata",
        "studies/2.1/series/2.1.1/metadata",
    ] {
        let answer = get(&gateway, target).await;
        assert_eq!(studies(&answer), ["2.1"], "{target}");
        assert!(answer.text().contains(&format!("\"{PUBLIC_URL}/studies/2.1/")), "{}", answer.text());
    }
    assert_eq!(first.targets().len(), 1, "one search whether it holds the study: {:?}", first.targets());
    assert_eq!(get(&gateway, "studies/9.9/series").await.text(), "[]");
    assert_eq!(get(&gateway, "studies/9.9/metadata").await.status, 404);
    assert_eq!(get(&gateway, "studies/9.9/series?nonsense=1").await.status, 400);
    assert_eq!(get(&gateway, "studies/2.1/series/9.9/metadata").await.status, 404);
}

#[tokio::test]
async fn copies_of_a_study_are_merged_by_uid_and_retrieved_from_the_most_complete_archive() {
    let (first, second) = two_archives().await;
    let gateway = gateway_for(&[&first, &second]).await;
    assert_eq!(values(&get(&gateway, "studies/1.2/series").await, "0020000E"), ["1.2.1", "1.2.2"]);
    assert_eq!(
        values(&get(&gateway, "studies/1.2/instances").await, "00080018"),
        ["1.2.1.1", "1.2.1.2", "1.2.2.1"]
    );
    let metadata = get(&gateway, "studies/1.2/metadata").await;
    assert_eq!(
        values(&metadata, "0020000E"),
        ["1.2.1", "1.2.1", "1.2.2"],
        "the second archive holds the whole study"
    );
}

#[tokio::test]
async fn a_study_that_no_archive_holds_completely_is_not_retrieved_as_a_whole() {
    let first = Pacs::new().with_study(Study::new("1.2").series("1.2.1", "CT", 2)).start().await;
    let second = Pacs::new().with_study(Study::new("1.2").series("1.2.2", "SR", 1)).start().await;
    let gateway = gateway_for(&[&first, &second]).await;
    assert_eq!(values(&get(&gateway, "studies/1.2/series").await, "0020000E"), ["1.2.1", "1.2.2"]);
    let whole = get(&gateway, "studies/1.2/metadata").await;
    assert_eq!(whole.status, 501, "{}", whole.text());
    for (series, instances) in [("1.2.1", 2), ("1.2.2", 1)] {
        let metadata = get(&gateway, &format!("studies/1.2/series/{series}/metadata")).await;
        assert_eq!(values(&metadata, "00080018").len(), instances);
    }
}

#[tokio::test]
async fn an_unreachable_archive_fails_lists_but_not_retrievals_from_other_archives() {
    let (first, _) = two_archives().await;
    let gateway = gateway(&[&first.url(), "http://127.0.0.1:9/dicom-web"]).await;
    assert_eq!(get(&gateway, "studies").await.status, 503);
    assert_eq!(get(&gateway, "studies/1.3/series").await.status, 503);
    assert_eq!(studies(&get(&gateway, "studies/1.3/metadata").await), ["1.3"]);
    assert_eq!(
        get(&gateway, "studies/2.1/metadata").await.status,
        503,
        "the unreachable archive may hold it"
    );
}

#[tokio::test]
async fn a_query_that_an_archive_rejects_has_the_same_status_as_below_its_own_root() {
    let (first, _) = two_archives().await;
    for (upstream, status) in
        [(400, 400), (413, 413), (501, 501), (404, 502), (406, 502), (409, 502), (500, 502)]
    {
        let second = Pacs::new().with_response("/studies", CannedResponse::status(upstream)).start().await;
        let gateway = gateway_for(&[&first, &second]).await;
        let rejection = get(&gateway, "studies?StudyDate=20241301").await;
        assert_eq!(rejection.status, status, "{upstream}: {}", rejection.text());
        assert!(rejection.text().contains("rchive archive-1 "), "{upstream}: {}", rejection.text());
        if matches!(upstream, 400 | 413 | 501) {
            let own = get(&gateway, "archive-1/studies?StudyDate=20241301").await;
            assert_eq!(rejection.text(), own.text(), "{upstream}");
        }
    }
}

#[tokio::test]
async fn a_search_of_the_gateway_that_an_archive_rejects_is_not_a_400() {
    let (first, _) = two_archives().await;
    let second = Pacs::new().with_response("/studies/9.9/series", CannedResponse::status(400)).start().await;
    let gateway = gateway_for(&[&first, &second]).await;
    assert_eq!(get(&gateway, "studies/9.9").await.status, 502);
}

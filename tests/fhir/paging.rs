//! Pages of a search, in front of archives with every behavior of paging: all matches, each once, forward and backward, or an
//! error that says what to do.

use std::sync::Arc;
use std::time::Duration;

use dicomweb_gateway::clock::{ManualClock, SharedClock};
use serde_json::Value;

use crate::support::client::ReceivedResponse;
use crate::support::gateway::{RunningGateway, link_url, resources_with_mode};
use crate::support::pacs::{CannedResponse, Change, Pacs, Paging, QueryCondition, RunningPacs, Study};

/// This number of studies, of five patients, on different days.
fn studies(count: usize) -> Pacs {
    (0..count).fold(Pacs::new(), |pacs, number| pacs.with_study(study(number)))
}

fn study(number: usize) -> Study {
    let uid = uid(number);
    Study::new(&uid)
        .patient(&format!("P{}", number % 5), "Doe^Jane")
        .study_date(&format!("2024{:02}{:02}", number / 28 % 12 + 1, number % 28 + 1))
        .accession_number(&format!("A{number}"))
        .series(&format!("{uid}.1"), if number.is_multiple_of(3) { "CT" } else { "MR" }, 1)
}

fn uid(number: usize) -> String {
    format!("1.2.{}", number + 1)
}

fn uids(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    let mut uids: Vec<_> = numbers.into_iter().map(uid).collect();
    uids.sort();
    uids
}

fn ids_of(bundle: &Value) -> Vec<String> {
    resources_with_mode(bundle, "match")
        .iter()
        .map(|resource| resource["id"].as_str().unwrap().to_owned())
        .collect()
}

/// Follows the links to the last page and back; returns the ids on all pages in order. Every page must link to itself.
async fn walk(gateway: &RunningGateway, path: &str) -> Vec<String> {
    let at = |url: String| url.strip_prefix(gateway.base_url()).expect("a link to the gateway").to_owned();
    let mut pages = vec![gateway.get_json(path).await];
    let begin = link_url(&pages[0], "self").map(at).unwrap();
    assert_eq!(link_url(&pages[0], "previous"), None, "{path}");
    while let Some(next) = link_url(pages.last().unwrap(), "next").map(at) {
        assert!(pages.len() < 1000, "the pages of {path} do not end");
        let page = gateway.get_json(&next).await;
        assert_eq!(link_url(&page, "self").map(at), Some(next));
        assert_eq!(link_url(&page, "first").map(at).as_ref(), Some(&begin));
        pages.push(page);
    }
    let mut back = pages.last().unwrap().clone();
    for expected in pages.iter().rev().skip(1) {
        let previous = link_url(&back, "previous").map(at).expect("a page before this one");
        back = gateway.get_json(&previous).await;
        assert_eq!(ids_of(&back), ids_of(expected), "{path} on the way back");
    }
    assert_eq!(ids_of(&gateway.get_json(&begin).await), ids_of(&pages[0]));
    pages.iter().flat_map(ids_of).collect()
}

async fn walked(gateway: &RunningGateway, path: &str) -> Vec<String> {
    let mut ids = walk(gateway, path).await;
    ids.sort();
    ids
}

fn assert_refused(received: &ReceivedResponse, status: u16, code: &str, advice: &str) {
    assert_eq!(received.status, status, "{}", received.text());
    let outcome = received.json();
    assert_eq!(outcome["issue"][0]["code"], code, "{outcome}");
    let diagnostics = outcome["issue"][0]["diagnostics"].as_str().unwrap();
    assert!(diagnostics.contains(advice), "{diagnostics}");
}

async fn start(pacs: &RunningPacs, more: &str) -> RunningGateway {
    RunningGateway::start(&pacs.url(), more).await
}

const NARROW: &str = "Narrow";

#[tokio::test]
async fn pages_contain_every_match_once_forward_and_backward_in_every_sort_order() {
    let gateway = RunningGateway::start_with_samples().await;
    let statement = gateway.get_json("/fhir/metadata").await;
    for resource in statement["rest"][0]["resource"].as_array().unwrap() {
        let kind = resource["type"].as_str().unwrap();
        let base = format!("/fhir/{kind}?_count=11&_elements=id");
        let all = walked(&gateway, &base).await;
        assert_eq!(gateway.get_json(&base).await["total"], all.len());
        for parameter in resource["searchParam"].as_array().unwrap() {
            for sign in ["", "-"] {
                let name = parameter["name"].as_str().unwrap();
                let sorted = walked(&gateway, &format!("{base}&_sort={sign}{name}")).await;
                assert_eq!(sorted, all, "{kind} by {sign}{name}");
            }
        }
        let one_each = walk(&gateway, &format!("/fhir/{kind}?_count=1&_elements=id&_sort=-_id")).await;
        assert_eq!(one_each, all.iter().rev().cloned().collect::<Vec<_>>(), "{kind} by one");
    }
}

#[tokio::test]
async fn pages_are_complete_with_every_paging_behavior_of_an_archive() {
    for (name, pacs) in [
        ("honest", studies(25)),
        ("truncates at ten", studies(25).with_paging(Paging::Truncated(10))),
        ("truncates at three", studies(25).with_paging(Paging::Truncated(3))),
        ("truncates at two", studies(25).with_paging(Paging::Truncated(2))),
        ("truncates at one", studies(25).with_paging(Paging::Truncated(1))),
        ("truncates at one with a warning", studies(25).with_paging(Paging::TruncatedWithWarning(1))),
        (
            "repeats rows and truncates with a warning",
            studies(25).repeat_rows(7).with_paging(Paging::TruncatedWithWarning(5)),
        ),
        ("rejects an offset at the end", studies(25).with_paging(Paging::EndOffsetRejected)),
        ("rejects an offset at the end of one row", studies(1).with_paging(Paging::EndOffsetRejected)),
        ("ignores paging", studies(25).with_paging(Paging::Ignored)),
        ("ignores paging of a long list", studies(503).with_paging(Paging::Ignored)),
        ("ignores the limit", studies(25).with_paging(Paging::LimitIgnored)),
        ("ignores the offset of a short list", studies(25).with_paging(Paging::OffsetIgnored)),
        ("repeats rows", studies(25).repeat_rows(11)),
        ("repeats rows and truncates", studies(25).repeat_rows(7).with_paging(Paging::Truncated(20))),
        ("repeats rows over many pages", studies(2).repeat_rows(1200)),
        ("repeats rows and ignores paging", studies(25).repeat_rows(11).with_paging(Paging::Ignored)),
    ] {
        let count = if name.contains("long list") { 503 } else { 25 };
        let count = if name.contains("many pages") { 2 } else { count };
        let count = if name.contains("one row") { 1 } else { count };
        let pacs = pacs.start().await;
        let gateway = start(&pacs, "").await;
        let bundle = gateway.get_json("/fhir/ImagingStudy?_count=200&_elements=id").await;
        assert_eq!(bundle["total"], count, "{name}");
        let ids = walked(&gateway, "/fhir/ImagingStudy?_count=99&_elements=id").await;
        assert_eq!(ids, uids(0..count), "{name}");
    }
}

#[tokio::test]
async fn searches_are_rejected_if_the_archive_reports_more_rows_than_it_returns() {
    for rows in [1, 2, 5] {
        let pacs = studies(7).with_paging(Paging::FirstRowsWithWarning(rows)).start().await;
        let gateway = start(&pacs, "").await;
        let received = gateway.get("/fhir/ImagingStudy?_elements=id").await;
        assert_refused(&received, 400, "too-costly", NARROW);
        let received = gateway.get("/dicom-web/studies").await;
        assert_eq!(received.status, 413, "{rows}: {}", received.text());
    }
}

#[tokio::test]
async fn searches_are_rejected_if_the_archive_ignores_the_offset_of_a_long_list() {
    let pacs = studies(600).with_paging(Paging::OffsetIgnored).start().await;
    let gateway = start(&pacs, "").await;
    for query in ["_elements=id", "_count=0", "_elements=id&_sort=started"] {
        let received = gateway.get(&format!("/fhir/ImagingStudy?{query}")).await;
        assert_refused(&received, 400, "too-costly", NARROW);
    }
    let narrowed = walked(&gateway, "/fhir/ImagingStudy?patient.identifier=P3&_elements=id").await;
    assert_eq!(narrowed, uids((0..600).filter(|number| number % 5 == 3)));
}

#[tokio::test]
async fn searches_are_split_by_date_if_the_archive_limits_its_lists() {
    let pacs = studies(100).reject_lists_above(6).start().await;
    let gateway = start(&pacs, "").await;
    let january = walked(&gateway, "/fhir/ImagingStudy?started=2024-01&_elements=id").await;
    assert_eq!(january, uids(0..28));
    let until = walked(&gateway, "/fhir/ImagingStudy?started=lt2024-02-10&_elements=id&_sort=-started").await;
    assert_eq!(until, uids(0..28 + 9));
    let modality = walked(&gateway, "/fhir/ImagingStudy?started=2024-02&modality=CT&_elements=id").await;
    assert_eq!(modality, uids((28..56).filter(|number| number % 3 == 0)));
    // Studies without a date would be lost, so a search without dates is not split by date.
    for query in ["_elements=id", "modality=CT", "_count=0"] {
        let received = gateway.get(&format!("/fhir/ImagingStudy?{query}")).await;
        assert_refused(&received, 400, "too-costly", NARROW);
    }
}

#[tokio::test]
async fn searches_are_retried_without_a_rejected_modality_key() {
    let key = vec![("ModalitiesInStudy".to_owned(), QueryCondition::Present)];
    let pacs =
        studies(25).with_conditional_response("/studies", key, CannedResponse::status(400)).start().await;
    let gateway = start(&pacs, "").await;
    let found = walked(&gateway, "/fhir/ImagingStudy?modality=CT&_elements=id&_count=4").await;
    assert_eq!(found, uids((0..25).filter(|number| number % 3 == 0)));
}

#[tokio::test]
async fn a_list_that_changes_while_it_is_read_is_read_again() {
    for (change, expected) in [
        (Change::Deleted(uid(0)), uids(1..20)),
        (Change::Deleted(uid(19)), uids(0..19)),
        (Change::Added(study(20)), uids(0..21)),
    ] {
        let pacs =
            studies(20).with_paging(Paging::Truncated(5)).change_after_searches(2, change).start().await;
        let gateway = start(&pacs, "").await;
        assert_eq!(walked(&gateway, "/fhir/ImagingStudy?_elements=id").await, expected);
    }
}

#[tokio::test]
async fn a_list_that_keeps_changing_is_a_temporary_error() {
    let changing =
        |pacs: Pacs, search| pacs.change_after_searches(search, Change::Added(study(100 + search)));
    let pacs =
        [2, 5, 8].into_iter().fold(studies(20).with_paging(Paging::Truncated(5)), changing).start().await;
    let gateway = start(&pacs, "").await;
    let received = gateway.get("/fhir/ImagingStudy?_elements=id").await;
    assert_refused(&received, 503, "transient", "changed its list");
    assert!(received.header("retry-after").is_some());
    assert_eq!(walked(&gateway, "/fhir/ImagingStudy?_elements=id").await.len(), 23);
}

const FEW: &str = "[search]\nmax_scan = 10\n";

#[tokio::test]
async fn links_of_pages_sorted_by_a_text_of_any_length_open() {
    let named = |pacs: Pacs, number: usize| {
        let name = format!("{}{number}", "Doe".repeat(4000));
        pacs.with_study(study(number).patient(&format!("P{number}"), &name))
    };
    let pacs = (0..3).fold(Pacs::new(), named).start().await;
    let gateway = start(&pacs, "").await;
    let path = "/fhir/Patient?_sort=family,-family,family&_count=1";
    assert_eq!(walked(&gateway, path).await.len(), 3);
}

#[tokio::test]
async fn searches_beyond_max_scan_page_in_the_order_of_the_archive() {
    for (paging, count, query) in [
        (Paging::Standard, 120, "_count=9"),
        (Paging::Truncated(20), 45, "_count=9&_total=none"),
        (Paging::Truncated(20), 25, "_count=1"),
        (Paging::LimitIgnored, 120, "_count=9"),
    ] {
        let pacs = studies(count).with_paging(paging).start().await;
        let gateway = start(&pacs, FEW).await;
        let path = format!("/fhir/ImagingStudy?{query}&_elements=id");
        assert_eq!(walked_with_limited_return(&gateway, &path).await, uids(0..count), "{paging:?} {query}");
        let first = gateway.get_json(&path).await;
        assert_eq!(
            (first.get("total"), resources_with_mode(&first, "outcome").len()),
            (None, 0),
            "{paging:?} {query}"
        );
    }
}

/// Follows the links to the last page, and back over the sixteen pages that a cursor stores.
async fn walked_with_limited_return(gateway: &RunningGateway, path: &str) -> Vec<String> {
    let mut pages = vec![gateway.get_json(path).await];
    while let Some(next) = link_url(pages.last().unwrap(), "next") {
        assert!(pages.len() < 1000, "the pages of {path} do not end");
        pages.push(gateway.get_json(next.strip_prefix(gateway.base_url()).unwrap()).await);
    }
    let mut back = pages.last().unwrap().clone();
    for expected in pages.iter().rev().skip(1).take(16) {
        let previous = link_url(&back, "previous").expect("a page before this one");
        back = gateway.get_json(previous.strip_prefix(gateway.base_url()).unwrap()).await;
        assert_eq!(ids_of(&back), ids_of(expected), "{path} on the way back");
    }
    let mut ids: Vec<_> = pages.iter().flat_map(ids_of).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn repeated_rows_are_one_study_across_pages() {
    let pacs = studies(14).repeat_rows(150).start().await;
    let gateway = start(&pacs, FEW).await;
    for count in [1, 8] {
        let path = format!("/fhir/ImagingStudy?_count={count}&_elements=id");
        assert_eq!(walked_with_limited_return(&gateway, &path).await, uids(0..14), "{count}");
    }
}

#[tokio::test]
async fn searches_beyond_max_scan_are_neither_counted_nor_sorted() {
    let pacs = studies(30).start().await;
    let gateway = start(&pacs, FEW).await;
    for query in ["_count=0", "_summary=count", "_total=accurate", "_sort=started", "_sort=-_id&_count=1"] {
        let received = gateway.get(&format!("/fhir/ImagingStudy?{query}&_elements=id")).await;
        assert_refused(&received, 400, "too-costly", NARROW);
    }
    assert_refused(&gateway.get("/fhir/Patient").await, 400, "too-costly", NARROW);
    let narrowed =
        gateway.get_json("/fhir/ImagingStudy?_sort=started&patient.identifier=P1&_elements=id").await;
    assert_eq!(narrowed["total"], 6);
}

#[tokio::test]
async fn sparse_matches_are_found_or_the_search_is_too_costly() {
    let pacs = studies(140).start().await;
    let gateway = start(&pacs, FEW).await;
    let every_third = uids((0..140).filter(|number| number % 3 == 0));
    let found =
        walked_with_limited_return(&gateway, "/fhir/ImagingStudy?modality=CT&_count=5&_elements=id").await;
    assert_eq!(found, every_third);
    // More rows than may be scanned for one page contain no match.
    let received = gateway.get("/fhir/ImagingStudy?modality=US&_count=5&_elements=id").await;
    if received.status == 200 {
        assert!(ids_of(&received.json()).is_empty() && link_url(&received.json(), "next").is_none());
    } else {
        assert_refused(&received, 400, "too-costly", NARROW);
    }
}

#[tokio::test]
async fn an_ignored_offset_of_a_long_list_repeats_no_study() {
    for paging in [Paging::Ignored, Paging::OffsetIgnored] {
        let pacs = studies(140).with_paging(paging).start().await;
        let gateway = start(&pacs, FEW).await;
        let mut path = "/fhir/ImagingStudy?_count=9&_elements=id".to_owned();
        let mut seen = Vec::new();
        loop {
            let received = gateway.get(&path).await;
            if received.status != 200 {
                assert_refused(&received, 400, "too-costly", NARROW);
                break;
            }
            let page = received.json();
            for id in ids_of(&page) {
                assert!(!seen.contains(&id), "{id} is repeated with {paging:?}");
                seen.push(id);
            }
            let next = link_url(&page, "next").unwrap_or_else(|| panic!("{} of 140: {paging:?}", seen.len()));
            path = next.strip_prefix(gateway.base_url()).unwrap().to_owned();
        }
    }
}

#[tokio::test]
async fn a_change_of_a_long_list_between_two_pages_is_reported() {
    let new = |number| Change::Added(study(number));
    for changes in [vec![Change::Deleted(uid(0))], vec![new(200)], vec![new(200), new(201), new(202)]] {
        let pacs = studies(40).start().await;
        let gateway = start(&pacs, FEW).await;
        let first = gateway.get_json("/fhir/ImagingStudy?_count=9&_elements=id").await;
        for change in changes {
            pacs.change(change);
        }
        let next = link_url(&first, "next").unwrap();
        let second = gateway.get_json(next.strip_prefix(gateway.base_url()).unwrap()).await;
        let outcome = &resources_with_mode(&second, "outcome")[0];
        assert_eq!(outcome["issue"][0]["code"], "incomplete", "{outcome}");
        assert!(ids_of(&second).iter().all(|id| !ids_of(&first).contains(id)), "{second}");
    }
}

#[tokio::test]
async fn added_and_deleted_studies_shift_no_other_study_in_sorted_pages() {
    let pacs = studies(20).start().await;
    let clock = Arc::new(ManualClock::default());
    let gateway = RunningGateway::start_with_clock(Arc::clone(&clock) as SharedClock, &pacs.url(), "").await;
    let first = gateway.get_json("/fhir/ImagingStudy?_count=5&_elements=id&_sort=started").await;
    assert_eq!(ids_of(&first), (0..5).map(uid).collect::<Vec<_>>());
    // One on the first page, the last one on it, and one after it are deleted; a new one is sorted before all others.
    for deleted in [2, 4, 7] {
        pacs.change(Change::Deleted(uid(deleted)));
    }
    pacs.change(Change::Added(study(100).study_date("20230101")));
    clock.advance(Duration::from_mins(2));
    let mut ids = Vec::new();
    let mut next = link_url(&first, "next");
    while let Some(url) = next {
        let page = gateway.get_json(url.strip_prefix(gateway.base_url()).unwrap()).await;
        ids.extend(ids_of(&page));
        next = link_url(&page, "next");
    }
    assert_eq!(ids, (5..20).filter(|number| *number != 7).map(uid).collect::<Vec<_>>());
}

#[tokio::test]
async fn page_links_are_valid_on_every_replica_with_the_same_cursor_key() {
    let pacs = studies(30).start().await;
    for more in
        ["[search]\ncursor_key = \"the same for all\"\n", "[search]\ncursor_key = \"k\"\nmax_scan = 10\n"]
    {
        let (one, other) = (start(&pacs, more).await, start(&pacs, more).await);
        let path = "/fhir/ImagingStudy?_count=4&_elements=id";
        let expected = walk(&one, path).await;
        let (mut page, mut ids) = (one.get_json(path).await, Vec::new());
        for turn in 0.. {
            ids.extend(ids_of(&page));
            let Some(next) = link_url(&page, "next") else { break };
            let from = if turn % 2 == 0 { &one } else { &other };
            let to = if turn % 2 == 0 { &other } else { &one };
            page = to.get_json(next.strip_prefix(from.base_url()).unwrap()).await;
        }
        assert_eq!(ids, expected);
        let next = link_url(&one.get_json(path).await, "next").unwrap();
        let other_key = start(&pacs, "").await;
        let refused = other_key.get(next.strip_prefix(one.base_url()).unwrap()).await;
        assert_eq!(
            (refused.status, &refused.json()["issue"][0]["expression"][0]),
            (400, &Value::from("http._cursor"))
        );
    }
}

#[tokio::test]
async fn page_links_are_rejected_if_any_byte_is_changed() {
    let pacs = studies(30).start().await;
    let gateway = start(&pacs, "").await;
    let first = gateway.get_json("/fhir/ImagingStudy?_count=4&_elements=id&patient.identifier=P1").await;
    let next = link_url(&first, "next").unwrap().strip_prefix(gateway.base_url()).unwrap().to_owned();
    let begin = next.find("_cursor=").unwrap() + "_cursor=".len();
    for place in begin..next.len() {
        let mut changed = next.clone().into_bytes();
        changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        let received = gateway.get(&changed).await;
        assert_eq!(received.status, 400, "{changed}: {}", received.text());
    }
    let other_search = next.replace("identifier=P1", "identifier=P2");
    assert_ne!(other_search, next);
    assert_eq!(gateway.get(&other_search).await.status, 400, "a cursor is valid for its own search only");
    assert_eq!(gateway.get(&next).await.status, 200);
}

//! Pages of a search, for archives with every paging behavior. The pages contain all matches without duplicates, forward and
//! backward; otherwise the response is an error that explains what the client can do.

use std::sync::Arc;
use std::time::Duration;

use dicomweb_gateway::clock::{ManualClock, SharedClock};
use serde_json::Value;

use crate::support::client::ReceivedResponse;
use crate::support::gateway::{RunningGateway, link_url, resources_with_mode};
use crate::support::pacs::{CannedResponse, Change, Pacs, Paging, QueryCondition, RunningPacs, Study};

/// Returns an archive with `count` studies of five patients on different days.
fn archive_with_studies(count: usize) -> Pacs {
    (0..count).fold(Pacs::new(), |pacs, number| pacs.with_study(study(number)))
}

/// Returns an archive like [`archive_with_studies`] that cannot be searched by date.
fn archive_without_dates(count: usize) -> Pacs {
    archive_with_studies(count).ignore_matching_key("StudyDate")
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

/// Returns the sorted UIDs of the studies with these numbers.
fn sorted_uids(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
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

/// Follows the links from page to page to the last page and back. Returns the ids on all pages in their order.
async fn read_pages(gateway: &RunningGateway, path: &str) -> Vec<String> {
    let path_of = |url: String| {
        url.strip_prefix(gateway.base_url()).expect("the link is not to the gateway").to_owned()
    };
    let mut pages = vec![gateway.get_json(path).await];
    let first_path = link_url(&pages[0], "self").map(path_of).unwrap();
    assert_eq!(link_url(&pages[0], "previous"), None, "{path}");
    while let Some(next) = link_url(pages.last().unwrap(), "next").map(path_of) {
        assert!(pages.len() < 1000, "{path} has more than 1000 pages");
        let page = gateway.get_json(&next).await;
        assert_eq!(link_url(&page, "self").map(path_of), Some(next));
        assert_eq!(link_url(&page, "first").map(path_of).as_ref(), Some(&first_path));
        pages.push(page);
    }
    let mut page = pages.last().unwrap().clone();
    for expected in pages.iter().rev().skip(1) {
        let previous =
            link_url(&page, "previous").map(path_of).expect("the page has no link to the previous page");
        page = gateway.get_json(&previous).await;
        assert_eq!(ids_of(&page), ids_of(expected), "{path}, backward");
    }
    assert_eq!(ids_of(&gateway.get_json(&first_path).await), ids_of(&pages[0]));
    pages.iter().flat_map(ids_of).collect()
}

/// Follows the links like [`read_pages`], and returns the sorted ids.
async fn read_sorted_pages(gateway: &RunningGateway, path: &str) -> Vec<String> {
    let mut ids = read_pages(gateway, path).await;
    ids.sort();
    ids
}

fn assert_error(received: &ReceivedResponse, status: u16, code: &str, expected_text: &str) {
    assert_eq!(received.status, status, "{}", received.text());
    let outcome = received.json();
    assert_eq!(outcome["issue"][0]["code"], code, "{outcome}");
    let diagnostics = outcome["issue"][0]["diagnostics"].as_str().unwrap();
    assert!(diagnostics.contains(expected_text), "{diagnostics}");
}

async fn start_gateway(pacs: &RunningPacs, config: &str) -> RunningGateway {
    RunningGateway::start(&pacs.url(), config).await
}

/// The first word of the advice in errors of searches with too many matches.
const NARROW_SEARCH_ADVICE: &str = "Narrow";

#[tokio::test]
async fn pages_contain_every_match_once_in_both_directions_and_every_sort_order() {
    let gateway = RunningGateway::start_with_samples().await;
    let statement = gateway.get_json("/fhir/metadata").await;
    for resource in statement["rest"][0]["resource"].as_array().unwrap() {
        let resource_type = resource["type"].as_str().unwrap();
        let search = format!("/fhir/{resource_type}?_count=11&_elements=id");
        let all_ids = read_sorted_pages(&gateway, &search).await;
        assert_eq!(gateway.get_json(&search).await["total"], all_ids.len());
        for parameter in resource["searchParam"].as_array().unwrap() {
            for sign in ["", "-"] {
                let name = parameter["name"].as_str().unwrap();
                let ids = read_sorted_pages(&gateway, &format!("{search}&_sort={sign}{name}")).await;
                assert_eq!(ids, all_ids, "{resource_type} by {sign}{name}");
            }
        }
        let ids_of_single_pages =
            read_pages(&gateway, &format!("/fhir/{resource_type}?_count=1&_elements=id&_sort=-_id")).await;
        assert_eq!(
            ids_of_single_pages,
            all_ids.iter().rev().cloned().collect::<Vec<_>>(),
            "{resource_type} with one match per page"
        );
    }
}

#[tokio::test]
async fn pages_are_complete_with_every_paging_behavior_of_an_archive() {
    for (name, count, pacs) in [
        ("pages as specified", 25, archive_with_studies(25)),
        ("truncates at ten", 25, archive_with_studies(25).with_paging(Paging::Truncated(10))),
        ("truncates at three", 25, archive_with_studies(25).with_paging(Paging::Truncated(3))),
        ("truncates at two", 25, archive_with_studies(25).with_paging(Paging::Truncated(2))),
        ("truncates at one", 25, archive_with_studies(25).with_paging(Paging::Truncated(1))),
        (
            "truncates at one with a warning",
            25,
            archive_with_studies(25).with_paging(Paging::TruncatedWithWarning(1)),
        ),
        (
            "repeats rows and truncates with a warning",
            25,
            archive_with_studies(25).repeat_rows(7).with_paging(Paging::TruncatedWithWarning(5)),
        ),
        ("rejects an offset at the end", 25, archive_with_studies(25).with_paging(Paging::EndOffsetRejected)),
        (
            "rejects an offset at the end of one row",
            1,
            archive_with_studies(1).with_paging(Paging::EndOffsetRejected),
        ),
        ("ignores paging", 25, archive_with_studies(25).with_paging(Paging::Ignored)),
        ("ignores paging of a long list", 503, archive_with_studies(503).with_paging(Paging::Ignored)),
        ("ignores the limit", 25, archive_with_studies(25).with_paging(Paging::LimitIgnored)),
        (
            "ignores the offset of a short list",
            25,
            archive_with_studies(25).with_paging(Paging::OffsetIgnored),
        ),
        ("repeats rows", 25, archive_with_studies(25).repeat_rows(11)),
        (
            "repeats rows and truncates",
            25,
            archive_with_studies(25).repeat_rows(7).with_paging(Paging::Truncated(20)),
        ),
        ("repeats rows over many pages", 2, archive_with_studies(2).repeat_rows(1200)),
        (
            "repeats rows and ignores paging",
            25,
            archive_with_studies(25).repeat_rows(11).with_paging(Paging::Ignored),
        ),
    ] {
        let pacs = pacs.start().await;
        let gateway = start_gateway(&pacs, "").await;
        let bundle = gateway.get_json("/fhir/ImagingStudy?_count=200&_elements=id").await;
        assert_eq!(bundle["total"], count, "{name}");
        let ids = read_sorted_pages(&gateway, "/fhir/ImagingStudy?_count=99&_elements=id").await;
        assert_eq!(ids, sorted_uids(0..count), "{name}");
    }
}

#[tokio::test]
async fn searches_are_rejected_if_an_archive_reports_more_rows_than_it_returns() {
    for row_count in [1, 2, 5] {
        let pacs = archive_with_studies(7).with_paging(Paging::FirstRowsWithWarning(row_count)).start().await;
        let gateway = start_gateway(&pacs, "").await;
        let received = gateway.get("/fhir/ImagingStudy?_elements=id").await;
        assert_error(&received, 400, "too-costly", NARROW_SEARCH_ADVICE);
        let received = gateway.get("/dicom-web/studies").await;
        assert_eq!(received.status, 413, "{row_count}: {}", received.text());
    }
}

#[tokio::test]
async fn searches_are_rejected_if_the_archive_ignores_the_offset_of_a_long_list() {
    let pacs = archive_with_studies(600).with_paging(Paging::OffsetIgnored).start().await;
    let gateway = start_gateway(&pacs, "").await;
    for query in ["_elements=id", "_count=0", "_elements=id&_sort=started"] {
        let received = gateway.get(&format!("/fhir/ImagingStudy?{query}")).await;
        assert_error(&received, 400, "too-costly", NARROW_SEARCH_ADVICE);
    }
    let ids = read_sorted_pages(&gateway, "/fhir/ImagingStudy?patient.identifier=P3&_elements=id").await;
    assert_eq!(ids, sorted_uids((0..600).filter(|number| number % 5 == 3)));
}

#[tokio::test]
async fn searches_by_date_are_split_if_the_archive_rejects_long_lists() {
    let pacs = archive_with_studies(100).reject_lists_above(6).start().await;
    let gateway = start_gateway(&pacs, "").await;
    let january = read_sorted_pages(&gateway, "/fhir/ImagingStudy?started=2024-01&_elements=id").await;
    assert_eq!(january, sorted_uids(0..28));
    let until_february_9 =
        read_sorted_pages(&gateway, "/fhir/ImagingStudy?started=lt2024-02-10&_elements=id&_sort=-started")
            .await;
    assert_eq!(until_february_9, sorted_uids(0..28 + 9));
    let ct_in_february =
        read_sorted_pages(&gateway, "/fhir/ImagingStudy?started=2024-02&modality=CT&_elements=id").await;
    assert_eq!(ct_in_february, sorted_uids((28..56).filter(|number| number % 3 == 0)));
    // A search that is split by date omits studies without a date, so that they cannot be counted.
    for query in ["_total=accurate&_elements=id", "_count=0"] {
        let received = gateway.get(&format!("/fhir/ImagingStudy?{query}")).await;
        assert_error(&received, 400, "too-costly", NARROW_SEARCH_ADVICE);
    }
}

#[tokio::test]
async fn searches_are_retried_without_a_rejected_modality_key() {
    let key = vec![("ModalitiesInStudy".to_owned(), QueryCondition::Present)];
    let pacs = archive_with_studies(25)
        .with_conditional_response("/studies", key, CannedResponse::status(400))
        .start()
        .await;
    let gateway = start_gateway(&pacs, "").await;
    let ids = read_sorted_pages(&gateway, "/fhir/ImagingStudy?modality=CT&_elements=id&_count=4").await;
    assert_eq!(ids, sorted_uids((0..25).filter(|number| number % 3 == 0)));
}

#[tokio::test]
async fn a_list_that_changes_while_it_is_read_is_read_again() {
    for (change, expected) in [
        (Change::Deleted(uid(0)), sorted_uids(1..20)),
        (Change::Deleted(uid(19)), sorted_uids(0..19)),
        (Change::Added(study(20)), sorted_uids(0..21)),
    ] {
        let pacs = archive_with_studies(20)
            .with_paging(Paging::Truncated(5))
            .change_after_searches(2, change)
            .start()
            .await;
        let gateway = start_gateway(&pacs, "").await;
        assert_eq!(read_sorted_pages(&gateway, "/fhir/ImagingStudy?_elements=id").await, expected);
    }
}

#[tokio::test]
async fn a_list_that_changes_during_every_attempt_causes_503() {
    let add_study = |pacs: Pacs, search_count| {
        pacs.change_after_searches(search_count, Change::Added(study(100 + search_count)))
    };
    let pacs = [2, 5, 8]
        .into_iter()
        .fold(archive_with_studies(20).with_paging(Paging::Truncated(5)), add_study)
        .start()
        .await;
    let gateway = start_gateway(&pacs, "").await;
    let received = gateway.get("/fhir/ImagingStudy?_elements=id").await;
    assert_error(&received, 503, "transient", "changed its list");
    assert!(received.header("retry-after").is_some());
    assert_eq!(read_sorted_pages(&gateway, "/fhir/ImagingStudy?_elements=id").await.len(), 23);
}

/// The configuration of a gateway that scans at most ten studies.
const MAX_SCAN_CONFIG: &str = "[search]\nmax_scan = 10\n";

#[tokio::test]
async fn page_links_are_valid_for_searches_sorted_by_very_long_texts() {
    let add_study = |pacs: Pacs, number: usize| {
        let name = format!("{}{number}", "Doe".repeat(4000));
        pacs.with_study(study(number).patient(&format!("P{number}"), &name))
    };
    let pacs = (0..3).fold(Pacs::new(), add_study).start().await;
    let gateway = start_gateway(&pacs, "").await;
    let path = "/fhir/Patient?_sort=family,-family,family&_count=1";
    assert_eq!(read_sorted_pages(&gateway, path).await.len(), 3);
}

#[tokio::test]
async fn searches_beyond_max_scan_are_paged_in_the_order_of_an_archive_that_ignores_dates() {
    for (paging, count, query) in [
        (Paging::Standard, 120, "_count=9"),
        (Paging::Truncated(20), 45, "_count=9&_total=none"),
        (Paging::Truncated(20), 25, "_count=1"),
        (Paging::LimitIgnored, 120, "_count=9"),
    ] {
        let pacs = archive_without_dates(count).with_paging(paging).start().await;
        let gateway = start_gateway(&pacs, MAX_SCAN_CONFIG).await;
        let path = format!("/fhir/ImagingStudy?{query}&_elements=id");
        assert_eq!(
            read_pages_and_sixteen_back(&gateway, &path).await,
            sorted_uids(0..count),
            "{paging:?} {query}"
        );
        let first_page = gateway.get_json(&path).await;
        assert_eq!(
            (first_page.get("total"), resources_with_mode(&first_page, "outcome").len()),
            (None, 0),
            "{paging:?} {query}"
        );
    }
}

/// Follows the links from page to page to the last page, and back over sixteen pages: a cursor contains the positions of this number
/// of pages. Returns the sorted ids.
async fn read_pages_and_sixteen_back(gateway: &RunningGateway, path: &str) -> Vec<String> {
    let mut pages = vec![gateway.get_json(path).await];
    while let Some(next) = link_url(pages.last().unwrap(), "next") {
        assert!(pages.len() < 1000, "{path} has more than 1000 pages");
        pages.push(gateway.get_json(next.strip_prefix(gateway.base_url()).unwrap()).await);
    }
    let mut page = pages.last().unwrap().clone();
    for expected in pages.iter().rev().skip(1).take(16) {
        let previous = link_url(&page, "previous").expect("the page has no link to the previous page");
        page = gateway.get_json(previous.strip_prefix(gateway.base_url()).unwrap()).await;
        assert_eq!(ids_of(&page), ids_of(expected), "{path}, backward");
    }
    let mut ids: Vec<_> = pages.iter().flat_map(ids_of).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn repeated_rows_on_several_pages_are_one_study() {
    let pacs = archive_without_dates(14).repeat_rows(150).start().await;
    let gateway = start_gateway(&pacs, MAX_SCAN_CONFIG).await;
    for count in [1, 8] {
        let path = format!("/fhir/ImagingStudy?_count={count}&_elements=id");
        assert_eq!(read_pages_and_sixteen_back(&gateway, &path).await, sorted_uids(0..14), "{count}");
    }
}

#[tokio::test]
async fn searches_beyond_max_scan_are_neither_counted_nor_sorted_by_other_keys_than_the_start() {
    let pacs = archive_with_studies(30).start().await;
    let gateway = start_gateway(&pacs, MAX_SCAN_CONFIG).await;
    for query in ["_count=0", "_summary=count", "_total=accurate", "_sort=-_id&_count=1"] {
        let received = gateway.get(&format!("/fhir/ImagingStudy?{query}&_elements=id")).await;
        assert_error(&received, 400, "too-costly", NARROW_SEARCH_ADVICE);
    }
    assert_error(&gateway.get("/fhir/Patient").await, 400, "too-costly", NARROW_SEARCH_ADVICE);
    let bundle =
        gateway.get_json("/fhir/ImagingStudy?_sort=started&patient.identifier=P1&_elements=id").await;
    assert_eq!(bundle["total"], 6);
}

#[tokio::test]
async fn rare_matches_are_found_unless_the_search_is_too_costly() {
    let pacs = archive_without_dates(140).start().await;
    let gateway = start_gateway(&pacs, MAX_SCAN_CONFIG).await;
    let every_third = sorted_uids((0..140).filter(|number| number % 3 == 0));
    let ids =
        read_pages_and_sixteen_back(&gateway, "/fhir/ImagingStudy?modality=CT&_count=5&_elements=id").await;
    assert_eq!(ids, every_third);
    // No row matches, so the gateway would scan more rows than one page permits.
    let received = gateway.get("/fhir/ImagingStudy?modality=US&_count=5&_elements=id").await;
    if received.status == 200 {
        assert!(ids_of(&received.json()).is_empty() && link_url(&received.json(), "next").is_none());
    } else {
        assert_error(&received, 400, "too-costly", NARROW_SEARCH_ADVICE);
    }
}

#[tokio::test]
async fn no_study_is_repeated_if_the_archive_ignores_the_offset_of_a_long_list() {
    for paging in [Paging::Ignored, Paging::OffsetIgnored] {
        let pacs = archive_without_dates(140).with_paging(paging).start().await;
        let gateway = start_gateway(&pacs, MAX_SCAN_CONFIG).await;
        let mut path = "/fhir/ImagingStudy?_count=9&_elements=id".to_owned();
        let mut previous_ids = Vec::new();
        loop {
            let received = gateway.get(&path).await;
            if received.status != 200 {
                assert_error(&received, 400, "too-costly", NARROW_SEARCH_ADVICE);
                break;
            }
            let page = received.json();
            for id in ids_of(&page) {
                assert!(!previous_ids.contains(&id), "{id} is repeated with {paging:?}");
                previous_ids.push(id);
            }
            let next = link_url(&page, "next").unwrap_or_else(|| {
                panic!("{paging:?}: the pages end after {} of 140 studies", previous_ids.len())
            });
            path = next.strip_prefix(gateway.base_url()).unwrap().to_owned();
        }
    }
}

#[tokio::test]
async fn a_change_of_a_long_list_between_two_pages_is_reported() {
    let added = |number| Change::Added(study(number));
    for changes in [vec![Change::Deleted(uid(0))], vec![added(200)], vec![added(200), added(201), added(202)]]
    {
        let pacs = archive_without_dates(40).start().await;
        let gateway = start_gateway(&pacs, MAX_SCAN_CONFIG).await;
        let first_page = gateway.get_json("/fhir/ImagingStudy?_count=9&_elements=id").await;
        for change in changes {
            pacs.change(change);
        }
        let next = link_url(&first_page, "next").unwrap();
        let second_page = gateway.get_json(next.strip_prefix(gateway.base_url()).unwrap()).await;
        let outcome = &resources_with_mode(&second_page, "outcome")[0];
        assert_eq!(outcome["issue"][0]["code"], "incomplete", "{outcome}");
        assert!(ids_of(&second_page).iter().all(|id| !ids_of(&first_page).contains(id)), "{second_page}");
    }
}

#[tokio::test]
async fn sorted_pages_contain_every_other_study_once_when_studies_are_added_and_deleted() {
    let pacs = archive_with_studies(20).start().await;
    let clock = Arc::new(ManualClock::default());
    let gateway = RunningGateway::start_with_clock(Arc::clone(&clock) as SharedClock, &pacs.url(), "").await;
    let first_page = gateway.get_json("/fhir/ImagingStudy?_count=5&_elements=id&_sort=started").await;
    assert_eq!(ids_of(&first_page), (0..5).map(uid).collect::<Vec<_>>());
    // The deleted studies are one on the first page, the last one on this page, and a later one. The added study is sorted before
    // all others.
    for deleted in [2, 4, 7] {
        pacs.change(Change::Deleted(uid(deleted)));
    }
    pacs.change(Change::Added(study(100).study_date("20230101")));
    clock.advance(Duration::from_mins(2));
    let mut ids = Vec::new();
    let mut next = link_url(&first_page, "next");
    while let Some(url) = next {
        let page = gateway.get_json(url.strip_prefix(gateway.base_url()).unwrap()).await;
        ids.extend(ids_of(&page));
        next = link_url(&page, "next");
    }
    assert_eq!(ids, (5..20).filter(|number| *number != 7).map(uid).collect::<Vec<_>>());
}

#[tokio::test]
async fn page_links_are_valid_on_every_replica_with_the_same_keys() {
    let pacs = archive_with_studies(30).start().await;
    for config in ["[fhir]\nkeys = \"same\"\n", "[fhir]\nkeys = \"same\"\n[search]\nmax_scan = 10\n"] {
        let (first, second) = (start_gateway(&pacs, config).await, start_gateway(&pacs, config).await);
        let path = "/fhir/ImagingStudy?_count=4&_elements=id";
        let expected = read_pages(&first, path).await;
        let (mut page, mut ids) = (first.get_json(path).await, Vec::new());
        for page_index in 0.. {
            ids.extend(ids_of(&page));
            let Some(next) = link_url(&page, "next") else { break };
            let (current, other) = if page_index % 2 == 0 { (&first, &second) } else { (&second, &first) };
            page = other.get_json(next.strip_prefix(current.base_url()).unwrap()).await;
        }
        assert_eq!(ids, expected);
        let next = link_url(&first.get_json(path).await, "next").unwrap();
        let gateway_with_other_key = start_gateway(&pacs, "").await;
        let rejected = gateway_with_other_key.get(next.strip_prefix(first.base_url()).unwrap()).await;
        assert_eq!(
            (rejected.status, &rejected.json()["issue"][0]["expression"][0]),
            (400, &Value::from("http._cursor"))
        );
    }
}

#[tokio::test]
async fn page_links_with_any_changed_byte_are_rejected() {
    let pacs = archive_with_studies(30).start().await;
    let gateway = start_gateway(&pacs, "").await;
    let first_page = gateway.get_json("/fhir/ImagingStudy?_count=4&_elements=id&patient.identifier=P1").await;
    let next = link_url(&first_page, "next").unwrap().strip_prefix(gateway.base_url()).unwrap().to_owned();
    let cursor_start = next.find("_cursor=").unwrap() + "_cursor=".len();
    for index in cursor_start..next.len() {
        let mut changed = next.clone().into_bytes();
        changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        let received = gateway.get(&changed).await;
        assert_eq!(received.status, 400, "{changed}: {}", received.text());
    }
    let other_search = next.replace("identifier=P1", "identifier=P2");
    assert_ne!(other_search, next);
    assert_eq!(gateway.get(&other_search).await.status, 400, "the cursor was accepted in another search");
    assert_eq!(gateway.get(&next).await.status, 200);
}

#[tokio::test]
async fn a_search_goes_on_after_a_page_with_many_rows_of_studies_that_an_earlier_archive_contains() {
    let (first, second) =
        (archive_without_dates(130).start().await, archive_without_dates(240).start().await);
    let config = format!("[[archive]]\nid = \"second\"\nurl = \"{}\"\n{MAX_SCAN_CONFIG}", second.url());
    let gateway = start_gateway(&first, &config).await;
    let path = "/fhir/ImagingStudy?_count=9&_elements=id";
    assert_eq!(read_pages_and_sixteen_back(&gateway, path).await, sorted_uids(0..240));
}

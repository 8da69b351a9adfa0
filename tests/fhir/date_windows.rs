//! Searches in the order of the start in front of archives with more studies than a search reads. The truth is the list of a gateway that
//! may read all studies.

mod random_archives;

use std::sync::Arc;
use std::time::Duration;

use dicomweb_gateway::clock::{ManualClock, SharedClock};
use jiff::ToSpan;
use serde_json::{Value, json};

use crate::support::gateway::{RunningGateway, link_url, resources_with_mode};
use crate::support::pacs::{CannedResponse, Change, Pacs, Paging, QueryCondition, RunningPacs, Study};

/// The configuration of a gateway that reads at most ten studies at once.
const MAX_SCAN_CONFIG: &str = "[search]\nmax_scan = 10\n";

fn uid(number: usize) -> String {
    format!("1.2.{}", number + 1)
}

fn study(number: usize, date: &str) -> Study {
    let uid = uid(number);
    let modality = if number.is_multiple_of(3) { "CT" } else { "MR" };
    Study::new(&uid).patient(&format!("P{}", number % 5), "Doe^Jane").study_date(date).series(
        &format!("{uid}.1"),
        modality,
        1,
    )
}

fn undated_study(number: usize) -> Study {
    study(number, "").attribute("00080020", json!({"vr": "DA"}))
}

/// Returns `count` studies on different days since 2020, the newest last.
fn studies(count: usize) -> impl Iterator<Item = Study> {
    (0..count).map(|number| {
        let day = number % 28 + 1;
        let (month, year) = (number / 28 % 12 + 1, 2020 + number / 336);
        study(number, &format!("{year}{month:02}{day:02}"))
    })
}

fn archive(studies: impl IntoIterator<Item = Study>) -> Pacs {
    studies.into_iter().fold(Pacs::new(), Pacs::with_study)
}

async fn start_with_two(
    main: &RunningPacs,
    second: &RunningPacs,
    keys: [&str; 2],
    config: &str,
) -> RunningGateway {
    let [main_keys, second_keys] = keys;
    let second_archive = format!(
        "{main_keys}\n[[archive]]\nid = \"second\"\nurl = \"{}\"\n{second_keys}\n{config}",
        second.url()
    );
    RunningGateway::start(&main.url(), &second_archive).await
}

fn ids_of(bundle: &Value) -> Vec<String> {
    let matches = resources_with_mode(bundle, "match");
    matches.iter().map(|resource| resource["id"].as_str().unwrap().to_owned()).collect()
}

fn outcome_of(bundle: &Value) -> String {
    resources_with_mode(bundle, "outcome").first().map(ToString::to_string).unwrap_or_default()
}

async fn follow(gateway: &RunningGateway, page: &Value, relation: &str) -> Option<Value> {
    let url = link_url(page, relation)?;
    Some(gateway.get_json(url.strip_prefix(gateway.base_url()).unwrap()).await)
}

/// Follows the links to the next pages. Returns the ids on all pages in their order, and the last page.
async fn read_forward(gateway: &RunningGateway, path: &str) -> (Vec<String>, Value) {
    let mut page = gateway.get_json(path).await;
    let mut ids = ids_of(&page);
    for _ in 0..1000 {
        let Some(next) = follow(gateway, &page, "next").await else { return (ids, page) };
        ids.extend(ids_of(&next));
        page = next;
    }
    panic!("{path} has more than 1000 pages");
}

/// Follows the links to the previous pages from the last page on. Returns the ids on all pages in the order of the list.
async fn read_backward(gateway: &RunningGateway, mut page: Value) -> Vec<String> {
    let mut pages = vec![ids_of(&page)];
    for _ in 0..1000 {
        let Some(previous) = follow(gateway, &page, "previous").await else {
            return pages.into_iter().rev().flatten().collect();
        };
        pages.push(ids_of(&previous));
        page = previous;
    }
    panic!("there are more than 1000 previous pages");
}

/// Asserts that the pages of `search` contain the studies with these ids in this order, in both directions. Returns the last page.
async fn assert_pages(gateway: &RunningGateway, search: &str, expected: &[String]) -> Value {
    let (ids, last_page) = read_forward(gateway, search).await;
    assert_eq!(ids, expected, "{search}");
    assert_eq!(read_backward(gateway, last_page.clone()).await, expected, "{search}, backward");
    last_page
}

fn searches_for_studies(pacs: &RunningPacs) -> Vec<String> {
    pacs.targets().into_iter().filter(|target| target.contains("/studies?")).collect()
}

/// The days from 1970-01-01 to the time of the tests that count calls.
const DAYS_UNTIL_TODAY: i64 = 20_000;

/// Returns `count` studies, one on each day until today, the newest last.
fn studies_until_today(count: usize) -> impl Iterator<Item = Study> {
    let today = jiff::civil::date(1970, 1, 1).saturating_add(DAYS_UNTIL_TODAY.days());
    (0..count).map(move |number| {
        let age = i64::try_from(count - 1 - number).unwrap();
        study(number, &today.saturating_sub(age.days()).strftime("%Y%m%d").to_string())
    })
}

#[tokio::test]
async fn the_number_of_calls_for_a_page_does_not_depend_on_the_size_of_the_archive() {
    let config = "profile = \"orthanc\"\n[search]\nmax_scan = 600\n";
    for count in [700, 2000] {
        let pacs = archive(studies_until_today(count)).start().await;
        for (search, is_newest_first, max_calls) in [
            ("", true, 6),
            ("&_sort=-started", true, 6),
            ("&_sort=started", false, 10),
            ("&modality=CT", true, 7),
        ] {
            let clock = ManualClock::default();
            clock.advance(Duration::from_hours(24 * DAYS_UNTIL_TODAY.unsigned_abs() + 12));
            let gateway =
                RunningGateway::start_with_clock(Arc::new(clock) as SharedClock, &pacs.url(), config).await;
            let before = searches_for_studies(&pacs).len();
            let first_page =
                gateway.get_json(&format!("/fhir/ImagingStudy?_elements=id&_count=20{search}")).await;
            let calls = searches_for_studies(&pacs).split_off(before);
            let number = |index: usize| if is_newest_first { count - 1 - index } else { index };
            let is_match = |number: &usize| !search.contains("CT") || number.is_multiple_of(3);
            let expected: Vec<_> = (0..count).map(number).filter(is_match).take(20).map(uid).collect();
            assert_eq!(ids_of(&first_page), expected, "{search}");
            assert_eq!(first_page.get("total"), None, "{search}");
            assert!(calls.len() <= max_calls, "{count} {search}: {calls:#?}");
            let before = searches_for_studies(&pacs).len();
            follow(&gateway, &first_page, "next").await.unwrap();
            let calls = searches_for_studies(&pacs).split_off(before);
            assert!(calls.len() <= 4, "{count} {search}: {calls:#?}");
        }
    }
}

#[tokio::test]
async fn a_list_that_is_known_to_be_too_long_is_not_read_again() {
    let pacs = archive(studies(700)).start().await;
    let gateway = RunningGateway::start(&pacs.url(), "[search]\nmax_scan = 600\n").await;
    let path = "/fhir/ImagingStudy?_elements=id&_count=20";
    let first_page = gateway.get_json(path).await;
    assert!(
        searches_for_studies(&pacs).iter().any(|target| target.ends_with("limit=1&offset=600")),
        "{:?}",
        pacs.targets()
    );
    let before = searches_for_studies(&pacs).len();
    let no_cache = [("cache-control", "no-cache")];
    let again = gateway.get_with_headers(path, &no_cache).await.json();
    assert_eq!(ids_of(&again), ids_of(&first_page));
    let calls = searches_for_studies(&pacs).split_off(before);
    assert!(
        calls.iter().all(|target| target.contains("StudyDate=") || target.contains("StudyInstanceUID=")),
        "{calls:#?}"
    );
}

#[tokio::test]
async fn a_list_within_max_scan_is_read_as_a_whole_and_counted() {
    for count in [10, 11] {
        let pacs = archive(studies(count)).start().await;
        let gateway = RunningGateway::start(&pacs.url(), MAX_SCAN_CONFIG).await;
        let page = gateway.get_json("/fhir/ImagingStudy?_elements=id&_count=5").await;
        assert_eq!(page.get("total").and_then(Value::as_u64), (count == 10).then_some(10), "{count}");
    }
}

#[tokio::test]
async fn windows_are_restricted_to_the_dates_of_the_criteria() {
    let pacs = archive(studies(1500)).start().await;
    let gateway = RunningGateway::start(&pacs.url(), MAX_SCAN_CONFIG).await;
    for sort in ["", "&_sort=started"] {
        let before = pacs.targets().len();
        let search = format!("/fhir/ImagingStudy?_elements=id&_count=7&modality=CT&started=2021{sort}");
        let mut expected: Vec<_> = (336..672).filter(|number| number % 3 == 0).map(uid).collect();
        if sort.is_empty() {
            expected.reverse();
        }
        assert_pages(&gateway, &search, &expected).await;
        let targets = pacs.targets().split_off(before);
        let dates = targets.iter().filter_map(|target| target.split_once("StudyDate="));
        for (_, date) in dates {
            let date = date.split('&').next().unwrap();
            let (first, last) = date.split_once('-').unwrap_or((date, date));
            assert!("20210101" <= first && last <= "20211231", "{date}");
        }
    }
}

#[tokio::test]
async fn archives_that_do_not_evaluate_ranges_of_dates_are_read_in_their_own_order() {
    let empty_range = vec![("StudyDate".to_owned(), QueryCondition::Present)];
    for (name, pacs) in [
        ("ignores the key", archive(studies(60)).ignore_matching_key("StudyDate")),
        (
            "returns nothing",
            archive(studies(60)).with_conditional_response(
                "/studies",
                empty_range,
                CannedResponse::json("[]"),
            ),
        ),
    ] {
        let pacs = pacs.start().await;
        let gateway = RunningGateway::start(&pacs.url(), MAX_SCAN_CONFIG).await;
        let (mut ids, last_page) = read_forward(&gateway, "/fhir/ImagingStudy?_elements=id&_count=7").await;
        ids.sort();
        let mut expected: Vec<_> = (0..60).map(uid).collect();
        expected.sort();
        assert_eq!(ids, expected, "{name}");
        assert_eq!(outcome_of(&last_page), "", "{name}");
        let received = gateway.get("/fhir/ImagingStudy?_elements=id&_sort=-started").await;
        assert_eq!(
            (received.status, &received.json()["issue"][0]["code"]),
            (400, &json!("too-costly")),
            "{name}"
        );
    }
}

#[tokio::test]
async fn an_archive_that_ignores_the_offset_is_read_in_windows() {
    for paging in [Paging::Ignored, Paging::OffsetIgnored, Paging::Truncated(4), Paging::LimitIgnored] {
        let pacs = archive(studies(60)).with_paging(paging).start().await;
        let gateway = RunningGateway::start(&pacs.url(), MAX_SCAN_CONFIG).await;
        let expected: Vec<_> = (0..60).rev().map(uid).collect();
        assert_pages(&gateway, "/fhir/ImagingStudy?_elements=id&_count=7", &expected).await;
    }
}

#[tokio::test]
async fn an_archive_that_rejects_long_lists_is_read_in_windows() {
    let pacs = archive(studies(200)).reject_lists_above(60).start().await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    let newest: Vec<_> = (0..200).rev().map(uid).collect();
    let oldest: Vec<_> = (0..200).map(uid).collect();
    assert_pages(&gateway, "/fhir/ImagingStudy?_elements=id&_count=30", &newest).await;
    assert_pages(&gateway, "/fhir/ImagingStudy?_elements=id&_count=30&_sort=started", &oldest).await;
}

#[tokio::test]
async fn studies_that_are_added_and_deleted_between_pages_neither_repeat_nor_hide_others() {
    for sort in ["-started", "started"] {
        let pacs = archive(studies(60)).start().await;
        let gateway =
            RunningGateway::start(&pacs.url(), &format!("{MAX_SCAN_CONFIG}[cache]\nfresh_for = \"1ms\"\n"))
                .await;
        let mut page =
            gateway.get_json(&format!("/fhir/ImagingStudy?_elements=id&_count=5&_sort={sort}")).await;
        let mut ids = ids_of(&page);
        let deleted = [ids[1].clone(), ids[4].clone(), uid(30)];
        for id in &deleted {
            pacs.change(Change::Deleted(id.clone()));
        }
        // The added studies are at both ends of the list.
        pacs.change(Change::Added(study(100, "20190101")));
        pacs.change(Change::Added(study(101, "20290101")));
        while let Some(next) = follow(&gateway, &page, "next").await {
            ids.extend(ids_of(&next));
            page = next;
        }
        let mut expected: Vec<_> = (0..60).filter(|number| *number != 30).map(uid).collect();
        if sort == "started" {
            expected.push(uid(101));
        } else {
            expected.reverse();
            expected.push(uid(100));
        }
        assert_eq!(ids, expected, "{sort}");
    }
}

#[tokio::test]
async fn a_day_with_too_many_studies_is_named_in_the_error() {
    let dense = (500..600).map(|number| study(number, "20210115"));
    let pacs = archive(studies(40).chain(dense)).start().await;
    let gateway = RunningGateway::start(&pacs.url(), MAX_SCAN_CONFIG).await;
    let mut page = gateway.get_json("/fhir/ImagingStudy?_elements=id&_count=7&_sort=started").await;
    let mut ids = ids_of(&page);
    let error = loop {
        let url = link_url(&page, "next").unwrap();
        let received = gateway.get(url.strip_prefix(gateway.base_url()).unwrap()).await;
        if received.status != 200 {
            break received;
        }
        page = received.json();
        ids.extend(ids_of(&page));
    };
    assert_eq!(ids, (0..40).map(uid).collect::<Vec<_>>());
    assert_eq!((error.status, &error.json()["issue"][0]["code"]), (400, &json!("too-costly")));
    assert!(error.text().contains("2021-01-15"), "{}", error.text());
    let first_page = gateway.get("/fhir/ImagingStudy?_elements=id&_count=7&_sort=-started").await;
    assert!(first_page.text().contains("2021-01-15"), "{}", first_page.text());
}

#[tokio::test]
async fn a_page_with_few_matches_continues_and_a_first_page_without_matches_is_an_error() {
    // Archives cannot search by the name of the patient.
    let rare = |number: usize| if number.is_multiple_of(20) { "Rare^Name" } else { "Doe^Jane" };
    let named = studies(100).enumerate().map(|(number, study)| study.patient("P1", rare(number)));
    let pacs = archive(named).start().await;
    let gateway = RunningGateway::start(&pacs.url(), MAX_SCAN_CONFIG).await;
    let search = "/fhir/ImagingStudy?_elements=id&_count=3&_sort=started&patient.family=Rare";
    let expected: Vec<_> = [0, 20, 40, 60, 80].map(uid).to_vec();
    assert_pages(&gateway, search, &expected).await;
    let first_page = gateway.get_json(search).await;
    assert!(outcome_of(&first_page).contains("fewer matches than requested"), "{first_page}");
    let received = gateway.get("/fhir/ImagingStudy?_elements=id&patient.family=Nobody").await;
    assert_eq!((received.status, &received.json()["issue"][0]["code"]), (400, &json!("too-costly")));
}

#[tokio::test]
async fn an_archive_that_fails_in_the_middle_of_the_pages_is_an_error_or_is_named() {
    let in_2020 = vec![("StudyDate".to_owned(), QueryCondition::Contains("202005".to_owned()))];
    let main = archive(studies(200).step_by(2)).start().await;
    let second = archive(studies(200).skip(1).step_by(2))
        .with_conditional_response("/studies", in_2020, CannedResponse::status(503))
        .start()
        .await;
    let gateway = start_with_two(&main, &second, ["", ""], MAX_SCAN_CONFIG).await;
    let lenient = [("prefer", "handling=lenient")];
    let mut next = Some("/fhir/ImagingStudy?_elements=id&_count=7".to_owned());
    let (mut ids, mut failures) = (Vec::new(), 0);
    while let Some(path) = next {
        let received = gateway.get(&path).await;
        let page = if received.status == 503 {
            failures += 1;
            let partial = gateway.get_with_headers(&path, &lenient).await.json();
            assert!(outcome_of(&partial).contains("second"), "{partial}");
            partial
        } else {
            received.json()
        };
        ids.extend(ids_of(&page));
        next = link_url(&page, "next").map(|url| url.strip_prefix(gateway.base_url()).unwrap().to_owned());
    }
    assert!(failures > 0);
    let expected: Vec<_> = (0..200).rev().map(uid).filter(|id| ids.contains(id)).collect();
    assert_eq!(ids, expected, "the pages are not in order");
    for number in (0..200).step_by(2) {
        assert!(ids.contains(&uid(number)), "study {number} of the other archive is missing");
    }
}

#[tokio::test]
async fn studies_without_a_date_come_last_if_their_list_is_short() {
    let main = archive(studies(40).chain([undated_study(300)])).start().await;
    let second = archive([undated_study(301), undated_study(302), study(303, "20300101")]).start().await;
    let gateway = start_with_two(&main, &second, ["", ""], MAX_SCAN_CONFIG).await;
    for sort in ["-started", "started"] {
        let mut expected: Vec<_> = (0..40).chain([303]).map(uid).collect();
        if sort == "-started" {
            expected.reverse();
        }
        expected.extend([uid(301), uid(302)]);
        let search = format!("/fhir/ImagingStudy?_elements=id&_count=6&_sort={sort}");
        let last_page = assert_pages(&gateway, &search, &expected).await;
        let outcome = outcome_of(&last_page);
        assert!(outcome.contains("Archive main") && !outcome.contains("Archive second"), "{outcome}");
        let (_, last_page) = read_forward(&gateway, &format!("{search}&started=ge1900")).await;
        assert_eq!(outcome_of(&last_page), "", "no study without a date matches");
    }
}

#[tokio::test]
async fn a_clock_that_is_wrong_does_not_change_the_pages() {
    let pacs = archive(studies(60)).start().await;
    let clock = Arc::new(ManualClock::default());
    let gateway = RunningGateway::start_with_clock(clock as SharedClock, &pacs.url(), MAX_SCAN_CONFIG).await;
    let newest: Vec<_> = (0..60).rev().map(uid).collect();
    let oldest: Vec<_> = (0..60).map(uid).collect();
    assert_pages(&gateway, "/fhir/ImagingStudy?_elements=id&_count=7", &newest).await;
    assert_pages(&gateway, "/fhir/ImagingStudy?_elements=id&_count=7&_sort=started", &oldest).await;
}

#[tokio::test]
async fn a_study_that_two_rows_of_one_archive_date_differently_is_listed_once() {
    let other_date = study(45, "20200105").attribute("00081030", json!({"vr": "LO", "Value": ["copy"]}));
    let pacs = archive(studies(60).chain([other_date])).start().await;
    let gateway = RunningGateway::start(&pacs.url(), MAX_SCAN_CONFIG).await;
    let expected: Vec<_> = (0..60).rev().map(uid).collect();
    assert_pages(&gateway, "/fhir/ImagingStudy?_elements=id&_count=7", &expected).await;
}

#[tokio::test]
async fn conflicting_patients_and_rows_without_a_uid_are_reported_on_the_page_of_their_date() {
    let conflict = study(45, "20200105").patient("OTHER", "Roe^Ann");
    let without_uid =
        study(400, "20200601").attribute("0020000D", json!({"vr": "UI", "Value": ["not a UID"]}));
    let pacs = archive(studies(60).chain([conflict, without_uid])).start().await;
    let gateway = RunningGateway::start(&pacs.url(), MAX_SCAN_CONFIG).await;
    let mut page = gateway.get_json("/fhir/ImagingStudy?_elements=id&_count=7").await;
    let mut pages = vec![page.clone()];
    while let Some(next) = follow(&gateway, &page, "next").await {
        page = next;
        pages.push(page.clone());
    }
    let ids: Vec<_> = pages.iter().flat_map(ids_of).collect();
    let expected: Vec<_> = (0..60).rev().filter(|number| *number != 45).map(uid).collect();
    assert_eq!(ids, expected);
    let outcomes: Vec<_> = pages.iter().map(outcome_of).collect();
    let count_of = |text: &str| outcomes.iter().filter(|outcome| outcome.contains(text)).count();
    assert_eq!((count_of("1 match was omitted"), count_of(&uid(45)) > 0), (1, true), "{outcomes:#?}");
}

#[tokio::test]
async fn searches_by_last_updated_return_every_study_in_windows() {
    let pacs = archive(studies(40)).start().await;
    let gateway = RunningGateway::start(&pacs.url(), MAX_SCAN_CONFIG).await;
    let (ids, _) =
        read_forward(&gateway, "/fhir/ImagingStudy?_elements=id&_count=7&_lastUpdated=gt1970").await;
    assert_eq!(ids, (0..40).rev().map(uid).collect::<Vec<_>>());
}

#[tokio::test]
async fn pages_of_a_long_list_have_included_resources_and_are_in_batches_and_for_browsers() {
    let pacs = archive(studies(40)).start().await;
    let gateway = RunningGateway::start(&pacs.url(), MAX_SCAN_CONFIG).await;
    let included = gateway.get_json("/fhir/ImagingStudy?_count=3&_include=ImagingStudy:patient").await;
    assert_eq!(resources_with_mode(&included, "include").len(), 3, "{included}");
    let batch = r#"{"resourceType":"Bundle","type":"batch","entry":[
        {"request":{"method":"GET","url":"ImagingStudy?_count=3&_sort=-started&_summary=true"}}]}"#;
    let url = format!("{}/fhir", gateway.base_url());
    let response = crate::support::client::post(&url, "application/fhir+json", batch).await.json();
    assert_eq!(ids_of(&response["entry"][0]["resource"]), [39, 38, 37].map(uid), "{response}");
    let page = gateway.get_with_headers("/fhir/ImagingStudy?_count=3", &[("accept", "text/html")]).await;
    assert!(page.status == 200 && page.text().contains(&uid(39)), "{}", page.text());
}

//! Searches by long lists of UIDs, in DICOMweb and FHIR: they are split over several requests to an archive.

use std::collections::BTreeSet;

use crate::support::client;
use crate::support::gateway::{RunningGateway, link_url};
use crate::support::http2::Http2Client;
use crate::support::pacs::{Pacs, RunningPacs, Study};

/// Maximum length of a target that an archive accepts.
const MAX_TARGET_LEN: usize = 8 * 1024;

/// Returns a UID of 64 characters.
fn uid(number: usize) -> String {
    format!("1.2.840.99999.{number:050}").replace(".0", ".1")
}

fn uids(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers.into_iter().map(uid).collect()
}

fn study(number: usize) -> Study {
    let series = format!("1.2.840.77777.{number}");
    Study::new(&uid(number)).patient("P1", "Doe^Jane").series(&series, "CT", 1)
}

async fn start_archive(numbers: impl IntoIterator<Item = usize>) -> RunningPacs {
    numbers.into_iter().fold(Pacs::new(), |pacs, number| pacs.with_study(study(number))).start().await
}

async fn start_gateway(archives: [&RunningPacs; 2], lines: &str) -> RunningGateway {
    let config = format!("{lines}\n[[archive]]\nid = \"second\"\nurl = \"{}\"\n", archives[1].url());
    RunningGateway::start(&archives[0].url(), &config).await
}

/// Returns the Study Instance UIDs of the rows.
async fn listed(gateway: &RunningGateway, target: &str) -> (Vec<String>, Option<String>) {
    let response = gateway.get(&format!("/dicom-web/{target}")).await;
    assert_eq!(response.status, 200, "{}", response.text());
    let rows = response.json();
    let uid = |row: &serde_json::Value| row["0020000D"]["Value"][0].as_str().unwrap().to_owned();
    (rows.as_array().unwrap().iter().map(uid).collect(), response.header("warning").map(str::to_owned))
}

fn assert_targets_are_short(pacs: &RunningPacs) {
    assert!(pacs.targets().iter().all(|target| target.len() < MAX_TARGET_LEN));
}

#[tokio::test]
async fn four_hundred_uids_are_split_over_several_searches_of_each_archive() {
    let first = start_archive([3, 60, 390]).await;
    let second = start_archive([60, 210]).await;
    let gateway = start_gateway([&first, &second], "").await;
    let list = uids(0..400).join(",");
    let escaped_list = list.replace(',', "%2C");
    let (rows, warning) = listed(&gateway, &format!("main/studies?StudyInstanceUID={list}")).await;
    assert_eq!((rows, warning), (uids([3, 60, 390]), None));
    // Eight lists of fifty UIDs; each is requested again after its last row, because the archive may have further pages.
    let targets: BTreeSet<_> =
        first.targets().iter().map(|target| target.split("&limit").next().unwrap().to_owned()).collect();
    assert_eq!(targets.len(), 8);
    let (rows, _) = listed(&gateway, &format!("studies?StudyInstanceUID={escaped_list}")).await;
    assert_eq!(rows, uids([3, 60, 210, 390]));
    let (rows, _) = listed(&gateway, &format!("main/series?StudyInstanceUID={list}")).await;
    assert_eq!(rows, uids([3, 60, 390]));
    let xml = [("Accept", "application/dicom+xml")];
    let url = format!("{}/dicom-web/main/studies?StudyInstanceUID={list}", gateway.base_url());
    let xml = client::get_with_headers(&url, &xml).await;
    assert!(xml.status == 200 && uids([3, 60, 390]).iter().all(|uid| xml.text().contains(uid.as_str())));
    let http2 = Http2Client::connect(gateway.base_url()).await;
    let rows = http2.get(&format!("/dicom-web/main/studies?StudyInstanceUID={escaped_list}"), &[]).await;
    assert_eq!((rows.status, rows.json().as_array().unwrap().len()), (200, 3));
    assert_targets_are_short(&first);
    assert_targets_are_short(&second);
}

#[tokio::test]
async fn pages_of_a_search_by_many_uids_are_exact_and_in_the_order_of_the_uids() {
    let numbers = [399, 3, 60, 210, 61, 390];
    let pacs = start_archive(numbers).await;
    let other = start_archive([]).await;
    let gateway = start_gateway([&pacs, &other], "").await;
    // The repeated UID and the descending order show that the list of the client determines the order.
    let list = [uids((0..400).rev()), uids([3, 210])].concat().join(",");
    let (all, warning) = listed(&gateway, &format!("main/studies?StudyInstanceUID={list}")).await;
    assert_eq!((all.len(), warning), (6, None));
    assert_eq!(all.iter().collect::<BTreeSet<_>>(), uids(numbers).iter().collect());
    assert_eq!((all[0].clone(), all[5].clone()), (uid(399), uid(3)));
    for root in ["main/", ""] {
        let mut paged = Vec::new();
        for offset in [0, 2, 4] {
            let target = format!("{root}studies?StudyInstanceUID={list}&limit=2&offset={offset}");
            let (rows, warning) = listed(&gateway, &target).await;
            assert_eq!(warning.is_some_and(|warning| warning.contains("additional results")), offset < 4);
            paged.extend(rows);
        }
        assert_eq!(paged, all, "{root}");
    }
    let beyond = format!("main/studies?StudyInstanceUID={list}&limit=2&offset=6");
    assert_eq!(listed(&gateway, &beyond).await, (Vec::new(), None));
}

#[tokio::test]
async fn an_archive_without_lists_of_uids_is_searched_for_each_uid() {
    let pacs = start_archive([1, 2, 3]).await;
    let gateway = RunningGateway::start(&pacs.url(), "profile = \"dicom-rst\"\n").await;
    let list = uids([3, 9, 1]).join(",");
    let (rows, _) = listed(&gateway, &format!("main/studies?StudyInstanceUID={list}")).await;
    assert_eq!(rows, uids([3, 1]));
    let targets = pacs.targets();
    assert!(!targets.is_empty() && targets.iter().all(|target| !target.contains(',')), "{targets:?}");
}

#[tokio::test]
async fn four_hundred_uids_are_split_in_fhir_searches() {
    let first = start_archive([3, 60, 390]).await;
    let second = start_archive([60, 210]).await;
    let gateway = start_gateway([&first, &second], "").await;
    let identifiers =
        |prefix: &str| uids(0..400).iter().map(|uid| format!("{prefix}{uid}")).collect::<Vec<_>>().join(",");
    let expected: BTreeSet<_> = uids([3, 60, 210, 390]).into_iter().collect();
    for criterion in [
        format!("_id={}", identifiers("")),
        format!("identifier={}", identifiers("urn:oid:")),
        format!("identifier={}", identifiers("urn:dicom:uid|urn:oid:")),
    ] {
        let found = gateway.search_ids(&format!("/fhir/ImagingStudy?{criterion}")).await;
        assert_eq!(found.iter().cloned().collect::<BTreeSet<_>>(), expected, "{}", &criterion[..20]);
        let first_page = gateway.get_json(&format!("/fhir/ImagingStudy?{criterion}&_count=3")).await;
        assert_eq!(first_page["total"], 4);
        let next = link_url(&first_page, "next").unwrap();
        let next_page = client::get(&next).await;
        assert_eq!(next_page.status, 200, "{}", next_page.text());
        assert_eq!(next_page.json()["entry"].as_array().unwrap().len(), 1);
    }
    assert_targets_are_short(&first);
    assert_targets_are_short(&second);
}

#[tokio::test]
async fn lists_beyond_the_limits_are_rejected_with_the_limit() {
    let pacs = start_archive([1]).await;
    let gateway = RunningGateway::start(&pacs.url(), "").await;
    let long_list = uids(0..800).join(",");
    for (path, status, reason) in [
        (format!("/dicom-web/main/studies?StudyInstanceUID={long_list}"), 414, "48 KiB"),
        (format!("/dicom-web/studies?StudyInstanceUID={long_list}"), 414, "48 KiB"),
        (format!("/fhir/ImagingStudy?_id={long_list}"), 414, "POST to _search"),
        (format!("/dicom-web/main/studies?StudyInstanceUID={}", uids(0..600).join(",")), 400, "32 kB"),
        (format!("/fhir/ImagingStudy?_id={}", uids(0..501).join(",")), 400, "500 alternatives that are UIDs"),
        (format!("/fhir/ImagingStudy?identifier={}", ["a"; 101].join(",")), 400, "100 alternatives"),
    ] {
        let response = gateway.get(&path).await;
        assert_eq!(response.status, status, "{}: {}", &path[..40], response.text());
        assert!(response.text().contains(reason), "{}", response.text());
    }
    assert_eq!(pacs.targets(), [""; 0]);
}

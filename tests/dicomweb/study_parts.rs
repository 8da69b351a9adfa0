//! The aggregate root, where several archives contain parts of a study, and where parts move between archives.

use std::sync::Arc;

use dicomweb_gateway::clock::{ManualClock, SharedClock};
use serde_json::Value;

use crate::support::client::ReceivedResponse;
use crate::support::gateway::RunningGateway;
use crate::support::pacs::{CannedResponse, Change, Pacs, RunningPacs, Study};

/// Starts a gateway in front of the archives `main` and `second`. Its clock does not advance.
async fn start_gateway(first: &RunningPacs, second: &RunningPacs) -> RunningGateway {
    let config = format!("[[archive]]\nid = \"second\"\nurl = \"{}\"\n", second.url());
    let clock = Arc::new(ManualClock::default()) as SharedClock;
    RunningGateway::start_with_clock(clock, &first.url(), &config).await
}

async fn start(first: Pacs, second: Pacs) -> (RunningGateway, RunningPacs, RunningPacs) {
    let (first, second) = (first.start().await, second.start().await);
    (start_gateway(&first, &second).await, first, second)
}

async fn get(gateway: &RunningGateway, target: &str) -> ReceivedResponse {
    gateway.get(&format!("/dicom-web/{target}")).await
}

/// Returns the first value of `tag` in each row, sorted.
fn values(response: &ReceivedResponse, tag: &str) -> Vec<String> {
    assert_eq!(response.status, 200, "{}", response.text());
    let rows = response.json();
    let value = |row: &Value| row[tag]["Value"][0].as_str().unwrap_or_default().to_owned();
    let mut values: Vec<_> = rows.as_array().unwrap().iter().map(value).collect();
    values.sort();
    values
}

const SERIES: &str = "0020000E";
const INSTANCE: &str = "00080018";

fn study_with_instances(numbers: &[usize]) -> Study {
    Study::new("1.2").series_with_instances("1.2.1", "CT", numbers.iter().copied())
}

/// Creates an archive with these instances of the series, and their metadata.
fn pacs_with_instances(numbers: &[usize]) -> Pacs {
    numbers.iter().fold(Pacs::new().with_study(study_with_instances(numbers)), |pacs, number| {
        let metadata = format!(r#"[{{"{INSTANCE}":{{"vr":"UI","Value":["1.2.1.{number}"]}}}}]"#);
        let path = format!("/studies/1.2/series/1.2.1/instances/1.2.1.{number}/metadata");
        pacs.with_response(&path, CannedResponse::json(metadata))
    })
}

#[tokio::test]
async fn a_study_is_retrieved_from_the_archive_that_contains_all_of_it() {
    let part = Pacs::new().with_study(Study::new("1.2").series("1.2.1", "CT", 2));
    let whole = Pacs::new().with_study(Study::new("1.2").series("1.2.1", "CT", 2).series("1.2.2", "SR", 1));
    for (first, second) in [(part.clone(), whole.clone()), (whole.clone(), part), (whole.clone(), whole)] {
        let (gateway, _first, _second) = start(first, second).await;
        assert_eq!(values(&get(&gateway, "studies/1.2/series").await, SERIES), ["1.2.1", "1.2.2"]);
        let instances = ["1.2.1.1", "1.2.1.2", "1.2.2.1"];
        assert_eq!(values(&get(&gateway, "studies/1.2/instances").await, INSTANCE), instances);
        assert_eq!(values(&get(&gateway, "studies/1.2/metadata").await, INSTANCE), instances);
    }
}

#[tokio::test]
async fn a_study_that_no_archive_contains_completely_is_not_retrieved_as_a_whole() {
    let first = Pacs::new().with_study(Study::new("1.2").series("1.2.1", "CT", 2));
    let second = Pacs::new().with_study(Study::new("1.2").series("1.2.2", "SR", 1));
    let (gateway, _first, _second) = start(first, second).await;
    assert_eq!(values(&get(&gateway, "studies/1.2/series").await, SERIES), ["1.2.1", "1.2.2"]);
    let retrieval = get(&gateway, "studies/1.2/metadata").await;
    assert_eq!(retrieval.status, 501, "{}", retrieval.text());
    assert!(retrieval.text().contains("(main, second)"), "{}", retrieval.text());
    for (series, instance_count) in [("1.2.1", 2), ("1.2.2", 1)] {
        let metadata = get(&gateway, &format!("studies/1.2/series/{series}/metadata")).await;
        assert_eq!(values(&metadata, INSTANCE).len(), instance_count);
    }
}

#[tokio::test]
async fn a_series_that_no_archive_contains_completely_is_retrieved_instance_by_instance() {
    for (first, second, count) in [(&[1, 2, 3][..], &[4][..], 4), (&[1, 2], &[2, 3], 3), (&[1], &[2], 2)] {
        let (gateway, _first, _second) = start(pacs_with_instances(first), pacs_with_instances(second)).await;
        let instances: Vec<_> = (1..=count).map(|number| format!("1.2.1.{number}")).collect();
        for list in ["studies/1.2/instances", "studies/1.2/series/1.2.1/instances"] {
            assert_eq!(values(&get(&gateway, list).await, INSTANCE), instances, "{list}");
        }
        for resource in ["", "/metadata", "/rendered", "/thumbnail"] {
            let retrieval = get(&gateway, &format!("studies/1.2/series/1.2.1{resource}")).await;
            assert_eq!(retrieval.status, 501, "{resource}: {}", retrieval.text());
            assert!(retrieval.text().contains("(main, second)"), "{}", retrieval.text());
            assert!(retrieval.text().contains("instances one by one"), "{}", retrieval.text());
        }
        for instance in instances {
            let metadata =
                get(&gateway, &format!("studies/1.2/series/1.2.1/instances/{instance}/metadata")).await;
            assert_eq!(values(&metadata, INSTANCE), [instance]);
        }
    }
}

#[tokio::test]
async fn a_series_is_retrieved_from_the_archive_that_contains_all_of_its_instances() {
    for (first, second) in [(&[1][..], &[1, 2][..]), (&[1, 2], &[2]), (&[1, 2], &[1, 2])] {
        let (gateway, _first, _second) = start(pacs_with_instances(first), pacs_with_instances(second)).await;
        let metadata = get(&gateway, "studies/1.2/series/1.2.1/metadata").await;
        assert_eq!(values(&metadata, INSTANCE), ["1.2.1.1", "1.2.1.2"]);
    }
}

/// The archive with the other part cannot list its series, but its row shows that it contains the study.
#[tokio::test]
async fn a_part_is_not_returned_as_the_whole_if_another_archive_cannot_list_its_part() {
    for failure in [CannedResponse::status(500), CannedResponse::json("[]")] {
        let failing = pacs_with_instances(&[2]).with_response("/studies/1.2/series", failure);
        let (gateway, _first, _second) = start(pacs_with_instances(&[1]), failing).await;
        for resource in ["metadata", "series", "instances", "series/1.2.1/metadata", "series/1.2.1/instances"]
        {
            let response = get(&gateway, &format!("studies/1.2/{resource}")).await;
            assert_eq!(response.status, 502, "{resource}: {}", response.text());
            assert!(response.text().contains("second"), "{}", response.text());
        }
        let instance = |number: usize| format!("studies/1.2/series/1.2.1/instances/1.2.1.{number}/metadata");
        let response = get(&gateway, &instance(1)).await;
        assert_eq!(
            values(&response, INSTANCE),
            ["1.2.1.1"],
            "an instance is complete, and its patient is known"
        );
        assert_eq!(get(&gateway, &instance(2)).await.status, 502, "the other archive may contain it");
    }
}

#[tokio::test]
async fn an_archive_that_lists_fewer_instances_than_it_reports_does_not_count_as_complete() {
    let list = CannedResponse::json(format!(r#"[{{"{INSTANCE}":{{"vr":"UI","Value":["1.2.1.1"]}}}}]"#));
    let short = pacs_with_instances(&[1, 2]).with_response("/studies/1.2/series/1.2.1/instances", list);
    let (gateway, _first, _second) = start(pacs_with_instances(&[1]), short).await;
    let metadata = get(&gateway, "studies/1.2/series/1.2.1/metadata").await;
    assert_eq!(metadata.status, 502, "{}", metadata.text());
    assert!(metadata.text().contains("second"), "{}", metadata.text());
}

#[tokio::test]
async fn a_part_that_arrives_in_another_archive_is_seen_by_the_next_request() {
    let (gateway, _first, second) = start(pacs_with_instances(&[1]), Pacs::new()).await;
    for (metadata, list) in [
        ("studies/1.2/metadata", "studies/1.2/instances"),
        ("studies/1.2/series/1.2.1/metadata", "studies/1.2/series/1.2.1/instances"),
    ] {
        second.set_studies([]);
        assert_eq!(values(&get(&gateway, metadata).await, INSTANCE), ["1.2.1.1"]);
        second.set_studies([study_with_instances(&[2])]);
        assert_eq!(get(&gateway, metadata).await.status, 501, "{metadata}");
        assert_eq!(values(&get(&gateway, list).await, INSTANCE), ["1.2.1.1", "1.2.1.2"], "{list}");
    }
}

#[tokio::test]
async fn a_study_that_was_moved_to_another_archive_is_found_there_at_once() {
    let metadata = "studies/1.2/metadata";
    for target in
        [metadata, "studies/1.2/series", "studies/1.2/instances", "studies/1.2/series/1.2.1/metadata"]
    {
        let (gateway, first, second) = start(pacs_with_instances(&[1]), Pacs::new()).await;
        assert_eq!(get(&gateway, metadata).await.status, 200);
        first.change(Change::Deleted("1.2".to_owned()));
        second.change(Change::Added(study_with_instances(&[1])));
        assert_eq!(values(&get(&gateway, target).await, SERIES), ["1.2.1"], "{target}");
        second.change(Change::Deleted("1.2".to_owned()));
        assert_eq!(get(&gateway, metadata).await.status, 404);
    }
}

/// The study is moved after it has been located, before its resource is requested.
#[tokio::test]
async fn a_study_that_is_moved_while_it_is_requested_is_located_again() {
    let study = study_with_instances(&[1]);
    let series = |count: usize| {
        let row = |tag: &str, uid: &str| format!(r#""{tag}":{{"vr":"UI","Value":["{uid}"]}}"#);
        let row = format!("{{{},{}}}", row("0020000D", "1.2"), row(SERIES, "1.2.1"));
        CannedResponse::json(format!("[{}]", vec![row; count].join(",")))
    };
    let instance = CannedResponse::json(format!(r#"[{{"{INSTANCE}":{{"vr":"UI","Value":["1.2.1.1"]}}}}]"#));
    let row = CannedResponse::json(r#"[{"0020000D":{"vr":"UI","Value":["1.2"]}}]"#);
    let path = "/studies/1.2/series/1.2.1/instances/1.2.1.1/metadata";
    for target in ["studies/1.2/series", "studies/1.2/instances", "studies/1.2/metadata", &path[1..]] {
        let former_archive = Pacs::new()
            .with_responses("/studies", [row.clone(), CannedResponse::json("[]")])
            .with_responses("/studies/1.2/series", [series(1), series(0)])
            .with_response("/studies/1.2/instances", CannedResponse::json("[]"));
        let new_archive = Pacs::new()
            .with_study(study.clone())
            .with_responses("/studies", [CannedResponse::json("[]"), row.clone()])
            .with_responses("/studies/1.2/series", [series(0), series(1)])
            .with_response(path, instance.clone());
        let (gateway, _first, _second) = start(former_archive, new_archive).await;
        assert_eq!(values(&get(&gateway, target).await, "0020000D").len(), 1, "{target}");
    }
}

#[tokio::test]
async fn a_retrieval_of_instances_from_the_former_archive_of_a_study_is_repeated_in_the_new_one() {
    let (gateway, first, second) = start(pacs_with_instances(&[1]), pacs_with_instances(&[2])).await;
    let instance = "studies/1.2/series/1.2.1/instances/1.2.1.3/metadata";
    second.set_studies([]);
    assert_eq!(get(&gateway, "studies/1.2/series/1.2.1/metadata").await.status, 200);
    assert_eq!(get(&gateway, instance).await.status, 404);
    assert_eq!(get(&gateway, &instance.replace("1.2.1.3", "1.2.1.2")).await.status, 404);
    first.set_studies([]);
    second.set_studies([study_with_instances(&[2])]);
    let moved = get(&gateway, &instance.replace("1.2.1.3", "1.2.1.2")).await;
    assert_eq!(values(&moved, INSTANCE), ["1.2.1.2"]);
}

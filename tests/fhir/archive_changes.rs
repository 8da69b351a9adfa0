//! The change feed of Orthanc: a study that it reports is read again at once, even if the row of the study is unchanged.

use std::sync::Arc;
use std::time::Duration;

use dicomweb_gateway::clock::{ManualClock, SharedClock};
use serde_json::{Value, json};

use crate::support::gateway::RunningGateway;
use crate::support::pacs::{CannedResponse, Pacs, RunningPacs, Study};

const INSTANCE_ID: &str = "280c66f6-8e0eecec-10887b9f-04c573a4-bac0c230";
const STUDY_ID: &str = "79fbc6b7-148379ff-cc1dac1d-94f60878-b0beba92";

fn study(instance_number: usize) -> Study {
    Study::new("1.2.1").series_with_instances("1.2.1.1", "CT", [instance_number])
}

/// Returns a response of the feed.
fn changes(changes: &[(&str, &str)], last: u64) -> CannedResponse {
    let to_change =
        |(resource_type, id): &(&str, &str)| json!({"ResourceType": resource_type, "ID": id, "Seq": last});
    let changes: Vec<_> = changes.iter().map(to_change).collect();
    CannedResponse::json(json!({"Changes": changes, "Done": true, "Last": last}).to_string())
}

/// Starts a gateway that follows the feed of `pacs`. Its clock does not advance, so all cached studies stay fresh.
async fn start(pacs: &RunningPacs) -> RunningGateway {
    let clock = Arc::new(ManualClock::default());
    let config = format!("profile = \"orthanc\"\nrest_url = \"{}\"", pacs.url());
    RunningGateway::start_with_clock(clock as SharedClock, &pacs.url(), &config).await
}

async fn instance_uid(gateway: &RunningGateway) -> Value {
    let study = gateway.get_json("/fhir/ImagingStudy/1.2.1").await;
    study["series"][0]["instance"][0]["uid"].clone()
}

#[tokio::test]
async fn a_cached_study_in_which_the_archive_has_stored_something_is_read_again() {
    for (resource_type, id, path) in [
        ("Instance", INSTANCE_ID, format!("/instances/{INSTANCE_ID}/study")),
        ("Study", STUDY_ID, format!("/studies/{STUDY_ID}")),
    ] {
        let feed =
            [changes(&[], 5), changes(&[(resource_type, id), ("Patient", STUDY_ID)], 7), changes(&[], 7)];
        let tags = json!({"ID": STUDY_ID, "MainDicomTags": {"StudyInstanceUID": "1.2.1"}});
        let pacs = Pacs::new()
            .with_study(study(1))
            .with_responses("/changes", feed)
            .with_response(&path, CannedResponse::json(tags.to_string()))
            .start()
            .await;
        let gateway = start(&pacs).await;
        assert_eq!(instance_uid(&gateway).await, "1.2.1.1.1");
        pacs.set_studies([study(2)]);
        assert_eq!(instance_uid(&gateway).await, "1.2.1.1.1");
        let change = async {
            while instance_uid(&gateway).await != "1.2.1.1.2" {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let result = tokio::time::timeout(Duration::from_mins(5), change).await;
        assert!(result.is_ok(), "{resource_type}: the study was not read again: {:?}", pacs.targets());
        let feed_requests = pacs.targets().into_iter().filter(|target| target.contains("/changes"));
        assert_eq!(
            feed_requests.take(2).collect::<Vec<_>>(),
            ["/dicom-web/changes?last", "/dicom-web/changes?since=5&limit=100"]
        );
    }
}

#[tokio::test]
async fn a_feed_that_fails_does_not_affect_searches() {
    let pacs =
        Pacs::new().with_study(study(1)).with_response("/changes", CannedResponse::status(503)).start().await;
    let gateway = start(&pacs).await;
    pacs.wait_for_requests(2).await;
    assert_eq!(instance_uid(&gateway).await, "1.2.1.1.1");
}

//! Reads of stale studies: with `cache.stale_for`, stale studies are served and then revalidated in the background; with
//! `cache.stale_if_error`, they are served if an archive fails.

use std::sync::Arc;
use std::time::Duration;

use dicomweb_gateway::clock::{ManualClock, SharedClock};
use serde_json::json;

use crate::support::gateway::RunningGateway;
use crate::support::pacs::{CannedResponse, Pacs, Study};

const STUDY_PATH: &str = "/fhir/ImagingStudy/1.2.1";

fn study(instance_count: usize) -> Study {
    Study::new("1.2.1").series("1.2.1.1", "CT", instance_count)
}

async fn start(url: &str, config: &str) -> (RunningGateway, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::default());
    let gateway = RunningGateway::start_with_clock(Arc::clone(&clock) as SharedClock, url, config).await;
    (gateway, clock)
}

#[tokio::test]
async fn a_stale_study_is_served_with_its_age_and_revalidated_in_the_background() {
    let pacs = Pacs::new().with_study(study(1)).start().await;
    let (gateway, clock) = start(&pacs.url(), "[cache]\nstale_for = \"2m\"").await;
    assert_eq!(gateway.get(STUDY_PATH).await.header("age"), None);
    pacs.set_studies([study(2)]);
    clock.advance(Duration::from_mins(1));
    let stale = gateway.get(STUDY_PATH).await;
    assert_eq!((stale.json()["numberOfInstances"].clone(), stale.header("age")), (1.into(), Some("60")));
    assert_eq!(stale.header("cache-control"), Some("private, no-cache"));
    let revalidation = async {
        while gateway.get_json(STUDY_PATH).await["numberOfInstances"] != 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let result = tokio::time::timeout(Duration::from_mins(5), revalidation).await;
    assert!(result.is_ok(), "the study was not revalidated in the background");
    pacs.wait_until_idle().await;
    pacs.set_studies([study(3)]);
    clock.advance(Duration::from_mins(2));
    let response = gateway.get(STUDY_PATH).await;
    assert_eq!(response.json()["numberOfInstances"], 3, "a study was served that is older than stale_for");
    assert_eq!(response.header("age"), None);
}

#[tokio::test]
async fn a_stale_study_is_not_served_again_after_its_revalidation_has_failed() {
    for (config, series) in [
        ("[cache]\nstale_for = \"1h\"", CannedResponse::status(500)),
        ("[cache]\nstale_for = \"1h\"\nstale_if_error = \"1h\"", CannedResponse::json("[]")),
    ] {
        let first_response = CannedResponse::json(
            json!([{"0020000D": {"vr": "UI", "Value": ["1.2.1"]}, "0020000E": {"vr": "UI", "Value": ["1.2.1.1"]}}])
                .to_string(),
        );
        let pacs = Pacs::new()
            .with_study(study(1))
            .with_responses("/studies/1.2.1/series", [first_response, series]);
        let pacs = pacs.start().await;
        let (gateway, clock) = start(&pacs.url(), config).await;
        assert_eq!(gateway.get(STUDY_PATH).await.status, 200);
        pacs.set_studies([study(2)]);
        clock.advance(Duration::from_mins(1));
        assert_eq!(gateway.get(STUDY_PATH).await.status, 200, "the stale study is served once");
        let failure = async {
            while gateway.get(STUDY_PATH).await.status != 502 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let result = tokio::time::timeout(Duration::from_mins(1), failure).await;
        assert!(result.is_ok(), "{config}: the stale study is still served");
    }
}

#[tokio::test]
async fn stale_studies_are_revalidated_before_the_response_by_default_and_with_no_cache() {
    for (config, headers) in
        [("", &[][..]), ("[cache]\nstale_for = \"10m\"", &[("Cache-Control", "no-cache")])]
    {
        let pacs = Pacs::new().with_study(study(1)).start().await;
        let (gateway, clock) = start(&pacs.url(), config).await;
        gateway.get(STUDY_PATH).await;
        pacs.set_studies([study(2)]);
        clock.advance(Duration::from_mins(1));
        let received = gateway.get_with_headers(STUDY_PATH, headers).await;
        assert_eq!(received.json()["numberOfInstances"], 2, "{config}");
    }
}

#[tokio::test]
async fn a_study_is_served_if_the_archive_fails_only_if_this_is_configured() {
    for (config, has_stale_response) in [("", false), ("[cache]\nstale_if_error = \"10m\"", true)] {
        // Without pooled connections, the archive is unreachable when its listener is closed.
        let pacs = Pacs::new().with_study(study(1)).close_after_each_response().start().await;
        let (gateway, clock) = start(&pacs.url(), config).await;
        let current = gateway.get(STUDY_PATH).await;
        assert_eq!(current.header("warning"), None);
        drop(pacs);
        clock.advance(Duration::from_mins(9));
        let received = gateway.get(STUDY_PATH).await;
        if !has_stale_response {
            assert_eq!(received.status, 503);
            continue;
        }
        assert_eq!(received.body, current.body);
        assert_eq!(received.header("age"), Some("540"));
        assert_eq!(received.header("warning"), Some("111 - \"Revalidation Failed\""));
        let no_cache = gateway.get_with_headers(STUDY_PATH, &[("Cache-Control", "no-cache")]).await;
        assert_eq!(no_cache.status, 503);
        assert_eq!(gateway.get("/fhir/ImagingStudy").await.status, 503);
        clock.advance(Duration::from_mins(1));
        assert_eq!(gateway.get(STUDY_PATH).await.status, 503, "the study is older than stale_if_error");
    }
}

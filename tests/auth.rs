//! Authentication: every route calls the authenticator once per request, and rejects a request that the authenticator rejects.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use dicomweb_gateway::auth::{Access, AuthError, Authentication, Authenticator};
use futures_util::FutureExt;
use http::HeaderMap;

use crate::support::client::{self, ReceivedResponse};
use crate::support::gateway::RunningGateway;
use crate::support::pacs::{Pacs, RunningPacs, Study};

/// An authenticator that counts its decisions. It rejects requests if `rejects` is set, and decides later if `is_pending` is set.
#[derive(Debug, Default)]
struct ScriptedAuthenticator {
    rejects: AtomicBool,
    is_pending: AtomicBool,
    decision_count: AtomicUsize,
}

impl ScriptedAuthenticator {
    /// Returns the number of decisions since the previous call.
    fn take_decision_count(&self) -> usize {
        self.decision_count.swap(0, Ordering::SeqCst)
    }
}

impl Authenticator for ScriptedAuthenticator {
    fn authenticate(&self, _headers: &HeaderMap) -> Authentication {
        self.decision_count.fetch_add(1, Ordering::SeqCst);
        let decision = if self.rejects.load(Ordering::SeqCst) {
            Err(AuthError::Unauthenticated { challenge: "Bearer" })
        } else {
            Ok(Access::all())
        };
        if !self.is_pending.load(Ordering::SeqCst) {
            return Authentication::Decided(decision);
        }
        let pending_decision = async move {
            tokio::task::yield_now().await;
            decision
        };
        Authentication::Pending(pending_decision.boxed().shared())
    }
}

async fn start_with_authenticator() -> (RunningPacs, RunningGateway, Arc<ScriptedAuthenticator>) {
    let pacs = Pacs::new().with_study(Study::new("1.2")).start().await;
    let authenticator = Arc::new(ScriptedAuthenticator::default());
    let gateway = RunningGateway::start_with_authenticator(
        Arc::clone(&authenticator) as Arc<dyn Authenticator>,
        &pacs.url(),
    )
    .await;
    (pacs, gateway, authenticator)
}

/// The path of a study, which is cached after the first read.
const STUDY_PATH: &str = "/fhir/ImagingStudy/1.2";

/// Sends a request; POST sends a batch that reads the study.
async fn send(gateway: &RunningGateway, method: &str, path: &str) -> ReceivedResponse {
    let url = format!("{}{path}", gateway.base_url());
    if method == "POST" {
        let batch = r#"{"resourceType":"Bundle","type":"batch","entry":[{"request":{"method":"GET","url":"ImagingStudy/1.2"}}]}"#;
        return client::post(&url, "application/fhir+json", batch).await;
    }
    client::send(method, &url, &[]).await
}

#[tokio::test]
async fn every_route_calls_the_authenticator_once_and_returns_401_if_it_rejects_the_request() {
    let (pacs, gateway, authenticator) = start_with_authenticator().await;
    assert_eq!(send(&gateway, "GET", STUDY_PATH).await.status, 200);
    let count_before = pacs.targets().len();
    assert_eq!(send(&gateway, "GET", STUDY_PATH).await.status, 200);
    assert_eq!(pacs.targets().len(), count_before, "the study was not read from the cache");
    authenticator.take_decision_count();
    authenticator.rejects.store(true, Ordering::SeqCst);
    for is_pending in [false, true] {
        authenticator.is_pending.store(is_pending, Ordering::SeqCst);
        for (method, path) in [
            ("GET", STUDY_PATH),
            ("HEAD", STUDY_PATH),
            ("GET", "/fhir/ImagingStudy/1.2?_summary=true"),
            ("GET", "/fhir/ImagingStudy/9.9"),
            ("GET", "/fhir/ImagingStudy/1.2/_history/1"),
            ("GET", "/fhir/ImagingStudy"),
            ("GET", "/fhir"),
            ("GET", "/fhir/Patient/a"),
            ("GET", "/fhir/Patient/a/ImagingStudy"),
            ("GET", "/fhir/Patient/a/$everything"),
            ("GET", "/fhir/Endpoint"),
            ("GET", "/fhir/Endpoint/main"),
            ("POST", "/fhir"),
            ("GET", "/dicom-web/main/studies"),
            ("HEAD", "/dicom-web/main/studies/1.2"),
            ("GET", "/dicom-web/main/studies/1.2/metadata"),
            ("GET", "/dicom-web/main/wado?requestType=WADO&studyUID=1.2&seriesUID=1.3&objectUID=1.4"),
            ("GET", "/dicom-web/studies"),
            ("GET", "/dicom-web/studies/1.2/series"),
            ("GET", "/dicom-web/wado?requestType=WADO&studyUID=1.2&seriesUID=1.3&objectUID=1.4"),
            ("GET", "/dicom-web/nowhere/studies"),
        ] {
            let received = send(&gateway, method, path).await;
            assert_eq!(received.status, 401, "{method} {path}");
            assert_eq!(received.header("www-authenticate"), Some("Bearer"), "{method} {path}");
            assert_eq!(authenticator.take_decision_count(), 1, "{method} {path}");
        }
    }
    assert_eq!(pacs.targets().len(), count_before, "an upstream request was sent for a rejected request");
}

#[tokio::test]
async fn the_capability_statement_and_options_need_no_authentication() {
    let (_pacs, gateway, authenticator) = start_with_authenticator().await;
    authenticator.rejects.store(true, Ordering::SeqCst);
    assert_eq!(send(&gateway, "GET", "/fhir/metadata").await.status, 200);
    assert_eq!(send(&gateway, "OPTIONS", STUDY_PATH).await.status, 204);
    assert_eq!(authenticator.take_decision_count(), 0);
}

#[tokio::test]
async fn an_accepted_request_is_authenticated_once() {
    let (_pacs, gateway, authenticator) = start_with_authenticator().await;
    for is_pending in [false, true] {
        authenticator.is_pending.store(is_pending, Ordering::SeqCst);
        // The second read of the study is served from the cache.
        for path in [STUDY_PATH, STUDY_PATH, "/fhir/ImagingStudy", "/dicom-web/studies"] {
            assert_eq!(send(&gateway, "GET", path).await.status, 200, "{path}");
            assert_eq!(authenticator.take_decision_count(), 1, "{path}");
        }
        assert_eq!(send(&gateway, "POST", "/fhir").await.status, 200);
        assert_eq!(
            authenticator.take_decision_count(),
            1,
            "the entries of the batch were authenticated again"
        );
    }
}

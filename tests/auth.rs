//! Authentication: every route calls the one authenticator once per request, and rejects the request if it does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use dicomweb_gateway::auth::{Access, AuthError, Authentication, Authenticator};
use futures_util::FutureExt;
use http::HeaderMap;

use crate::support::client::{self, ReceivedResponse};
use crate::support::gateway::RunningGateway;
use crate::support::pacs::{Pacs, RunningPacs, Study};

/// Accepts every request unless `rejects` is set, and counts its decisions.
#[derive(Debug, Default)]
struct ScriptedAuthenticator {
    rejects: AtomicBool,
    is_pending: AtomicBool,
    decisions: AtomicUsize,
}

impl ScriptedAuthenticator {
    fn decisions_since_last(&self) -> usize {
        self.decisions.swap(0, Ordering::SeqCst)
    }
}

impl Authenticator for ScriptedAuthenticator {
    fn authenticate(&self, _headers: &HeaderMap) -> Authentication {
        self.decisions.fetch_add(1, Ordering::SeqCst);
        let decision = if self.rejects.load(Ordering::SeqCst) {
            Err(AuthError::Unauthenticated { challenge: "Bearer" })
        } else {
            Ok(Access::everything())
        };
        if !self.is_pending.load(Ordering::SeqCst) {
            return Authentication::Decided(decision);
        }
        let later = async move {
            tokio::task::yield_now().await;
            decision
        };
        Authentication::Pending(later.boxed().shared())
    }
}

async fn with_authenticator() -> (RunningPacs, RunningGateway, Arc<ScriptedAuthenticator>) {
    let pacs = Pacs::new().with_study(Study::new("1.2")).start().await;
    let authenticator = Arc::new(ScriptedAuthenticator::default());
    let gateway = RunningGateway::start_with_authenticator(
        Arc::clone(&authenticator) as Arc<dyn Authenticator>,
        &pacs.url(),
    )
    .await;
    (pacs, gateway, authenticator)
}

const CACHED: &str = "/fhir/ImagingStudy/1.2";

async fn send(gateway: &RunningGateway, method: &str, path: &str) -> ReceivedResponse {
    let url = format!("{}{path}", gateway.base_url());
    if method == "POST" {
        let batch = r#"{"resourceType":"Bundle","type":"batch","entry":[{"request":{"method":"GET","url":"ImagingStudy/1.2"}}]}"#;
        return client::post(&url, "application/fhir+json", batch).await;
    }
    client::send(method, &url, &[]).await
}

#[tokio::test]
async fn every_route_calls_the_authenticator_once_and_rejects_what_it_rejects() {
    let (pacs, gateway, authenticator) = with_authenticator().await;
    assert_eq!(send(&gateway, "GET", CACHED).await.status, 200);
    let sent_before = pacs.targets().len();
    assert_eq!(send(&gateway, "GET", CACHED).await.status, 200);
    assert_eq!(pacs.targets().len(), sent_before, "the study is read from the cache");
    authenticator.decisions_since_last();
    authenticator.rejects.store(true, Ordering::SeqCst);
    for is_pending in [false, true] {
        authenticator.is_pending.store(is_pending, Ordering::SeqCst);
        for (method, path) in [
            ("GET", CACHED),
            ("HEAD", CACHED),
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
            assert_eq!(authenticator.decisions_since_last(), 1, "{method} {path}");
        }
    }
    assert_eq!(pacs.targets().len(), sent_before, "no upstream request is sent for a rejected request");
}

#[tokio::test]
async fn the_capability_statement_and_options_need_no_authentication() {
    let (_pacs, gateway, authenticator) = with_authenticator().await;
    authenticator.rejects.store(true, Ordering::SeqCst);
    assert_eq!(send(&gateway, "GET", "/fhir/metadata").await.status, 200);
    assert_eq!(send(&gateway, "OPTIONS", CACHED).await.status, 204);
    assert_eq!(authenticator.decisions_since_last(), 0);
}

#[tokio::test]
async fn an_accepted_request_is_authenticated_once() {
    let (_pacs, gateway, authenticator) = with_authenticator().await;
    for is_pending in [false, true] {
        authenticator.is_pending.store(is_pending, Ordering::SeqCst);
        // The first read comes from the archive, the second from the cache.
        for path in [CACHED, CACHED, "/fhir/ImagingStudy", "/dicom-web/studies"] {
            assert_eq!(send(&gateway, "GET", path).await.status, 200, "{path}");
            assert_eq!(authenticator.decisions_since_last(), 1, "{path}");
        }
        assert_eq!(send(&gateway, "POST", "/fhir").await.status, 200);
        assert_eq!(authenticator.decisions_since_last(), 1, "a batch is one request");
    }
}

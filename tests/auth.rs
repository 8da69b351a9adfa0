//! Authentication: every route asks the one authenticator, once for each request, and what it refuses is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use dicomweb_gateway::auth::{Access, AuthError, Authentication, Authenticator};
use futures_util::FutureExt;
use http::HeaderMap;

use crate::support::client::{self, Received};
use crate::support::gateway::RunningGateway;
use crate::support::pacs::{Pacs, RunningPacs, Study};

/// Lets everybody in until it is told otherwise, and counts how often it decides.
#[derive(Debug, Default)]
struct Guard {
    refuses: AtomicBool,
    waits: AtomicBool,
    decisions: AtomicUsize,
}

impl Guard {
    fn decisions_since_last(&self) -> usize {
        self.decisions.swap(0, Ordering::SeqCst)
    }
}

impl Authenticator for Guard {
    fn authenticate(&self, _headers: &HeaderMap) -> Authentication {
        self.decisions.fetch_add(1, Ordering::SeqCst);
        let decision = if self.refuses.load(Ordering::SeqCst) {
            Err(AuthError::Unauthenticated { challenge: "Bearer" })
        } else {
            Ok(Access::everything())
        };
        if !self.waits.load(Ordering::SeqCst) {
            return Authentication::Decided(decision);
        }
        let later = async move {
            tokio::task::yield_now().await;
            decision
        };
        Authentication::Pending(later.boxed().shared())
    }
}

async fn guarded() -> (RunningPacs, RunningGateway, Arc<Guard>) {
    let pacs = Pacs::new().study(Study::new("1.2")).start().await;
    let guard = Arc::new(Guard::default());
    let gateway = RunningGateway::guarded(Arc::clone(&guard) as Arc<dyn Authenticator>, &pacs.url()).await;
    (pacs, gateway, guard)
}

const CACHED: &str = "/fhir/ImagingStudy/1.2";

async fn send(gateway: &RunningGateway, method: &str, path: &str) -> Received {
    let url = format!("{}{path}", gateway.address());
    if method == "POST" {
        let batch = r#"{"resourceType":"Bundle","type":"batch","entry":[{"request":{"method":"GET","url":"ImagingStudy/1.2"}}]}"#;
        return client::post(&url, "application/fhir+json", batch).await;
    }
    client::send(method, &url, &[]).await
}

#[tokio::test]
async fn every_route_is_refused_by_an_authenticator_that_is_asked_once() {
    let (pacs, gateway, guard) = guarded().await;
    assert_eq!(send(&gateway, "GET", CACHED).await.status, 200);
    let asked_before = pacs.targets().len();
    assert_eq!(send(&gateway, "GET", CACHED).await.status, 200);
    assert_eq!(pacs.targets().len(), asked_before, "the study is read from the cache");
    guard.decisions_since_last();
    guard.refuses.store(true, Ordering::SeqCst);
    for waits in [false, true] {
        guard.waits.store(waits, Ordering::SeqCst);
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
            assert_eq!(guard.decisions_since_last(), 1, "{method} {path}");
        }
    }
    assert_eq!(
        pacs.targets().len(),
        asked_before,
        "nothing is asked of an archive for a caller who is refused"
    );
}

#[tokio::test]
async fn what_describes_the_server_is_open_to_all() {
    let (_pacs, gateway, guard) = guarded().await;
    guard.refuses.store(true, Ordering::SeqCst);
    assert_eq!(send(&gateway, "GET", "/fhir/metadata").await.status, 200);
    assert_eq!(send(&gateway, "OPTIONS", CACHED).await.status, 204);
    assert_eq!(guard.decisions_since_last(), 0);
}

#[tokio::test]
async fn a_caller_who_is_let_in_is_asked_once_too() {
    let (_pacs, gateway, guard) = guarded().await;
    for waits in [false, true] {
        guard.waits.store(waits, Ordering::SeqCst);
        // From the archive or by a decision that took waiting, then from the cache.
        for path in [CACHED, CACHED, "/fhir/ImagingStudy", "/dicom-web/studies"] {
            assert_eq!(send(&gateway, "GET", path).await.status, 200, "{path}");
            assert_eq!(guard.decisions_since_last(), 1, "{path}");
        }
        assert_eq!(send(&gateway, "POST", "/fhir").await.status, 200);
        assert_eq!(guard.decisions_since_last(), 1, "a batch is one request");
    }
}

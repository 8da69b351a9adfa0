//! The admin listener: is the process alive, can it work, what has it done. It is never reachable on the public one.

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;

use super::{PeerAddress, Service};
use crate::http::body::{self, Body};
use crate::telemetry::Metrics;

/// What the metrics page is written in (OpenMetrics 1.0).
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Tells whether the gateway should be sent requests.
pub trait Readiness: Send + Sync + 'static {
    /// `Err` with a short reason, without the name of any host, when it should not.
    fn ready(&self) -> Result<(), String>;
}

impl<F: Fn() -> Result<(), String> + Send + Sync + 'static> Readiness for F {
    fn ready(&self) -> Result<(), String> {
        self()
    }
}

/// Answers `/livez`, `/readyz` and `/metrics`.
#[derive(Debug)]
pub struct Admin<R> {
    /// Asked for `/readyz`.
    pub readiness: R,
    /// Shown at `/metrics`.
    pub metrics: Metrics,
}

impl<R: Readiness> Service for Admin<R> {
    async fn answer(&self, request: Request<Incoming>, _peer: PeerAddress) -> Response<Body> {
        self.page(request.method(), request.uri().path())
    }
}

impl<R: Readiness> Admin<R> {
    fn page(&self, method: &Method, path: &str) -> Response<Body> {
        let (status, text, kind) = match path {
            "/livez" => (StatusCode::OK, "alive\n".to_owned(), "text/plain; charset=utf-8"),
            "/readyz" => match self.readiness.ready() {
                Ok(()) => (StatusCode::OK, "ready\n".to_owned(), "text/plain; charset=utf-8"),
                Err(reason) => {
                    let text = format!("not ready: {reason}\n");
                    (StatusCode::SERVICE_UNAVAILABLE, text, "text/plain; charset=utf-8")
                }
            },
            "/metrics" => (StatusCode::OK, self.metrics.to_text(), OPENMETRICS),
            _ => (StatusCode::NOT_FOUND, "not found\n".to_owned(), "text/plain; charset=utf-8"),
        };
        let allowed = matches!(*method, Method::GET | Method::HEAD);
        let mut response = match (allowed, method) {
            (true, &Method::HEAD) => Response::new(body::empty()),
            (true, _) => Response::new(body::full(text)),
            (false, _) => Response::new(body::full("only GET and HEAD\n")),
        };
        *response.status_mut() = if allowed { status } else { StatusCode::METHOD_NOT_ALLOWED };
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if !allowed {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn get(readiness: impl Readiness, path: &str) -> (StatusCode, String) {
        let admin = Admin { readiness, metrics: Metrics::default() };
        let response = admin.page(&Method::GET, path);
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_process_that_is_not_ready_is_alive() {
        let unready = || Err("no archive answers".to_owned());
        assert_eq!(get(unready, "/livez").await.0, StatusCode::OK);
        let (status, text) = get(unready, "/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(text.contains("no archive answers"));
        assert_eq!(get(|| Ok(()), "/readyz").await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn the_metrics_page_is_complete() {
        let (status, text) = get(|| Ok(()), "/metrics").await;
        assert_eq!(status, StatusCode::OK);
        assert!(text.ends_with("# EOF\n"));
        assert_eq!(get(|| Ok(()), "/fhir/metadata").await.0, StatusCode::NOT_FOUND);
    }
}

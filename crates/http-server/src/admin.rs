//! The service of the admin listener: liveness, readiness and metrics, and actions by POST. The public listener never serves these
//! routes. This module does not know how readiness and metrics are determined, nor which actions there are.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};

use super::{PeerAddress, RequestBody, Service};
use http_messages::body::{self, Body};

/// Media type of the metrics (OpenMetrics 1.0).
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The paths of the pages, which have no other methods than GET and HEAD.
/// The body of `/readyz` of a gateway that is ready.
pub(crate) const READY: &str = "ready\n";

const PAGES: [&str; 3] = ["/livez", "/readyz", "/metrics"];

/// The state that the admin listener reports, and its actions.
pub trait AdminState: Send + Sync + 'static {
    /// Returns whether requests should be sent to this process; `Err` contains a short reason without host names.
    fn ready(&self) -> Result<(), String>;

    /// Returns the metrics as OpenMetrics text.
    fn metrics(&self) -> impl Future<Output = String> + Send;

    /// Whether there is an action at `path`, which has no other method than POST.
    fn has_action(&self, path: &str) -> bool;

    /// Responds to a POST; `None` if there is no such route. The implementation checks that the caller may make the request.
    fn post(&self, request: Request<RequestBody>) -> impl Future<Output = Option<Response<Body>>> + Send;
}

/// Serves `/livez`, `/readyz` and `/metrics`, and the actions of the state.
#[derive(Debug)]
pub struct Admin<S>(pub S);

impl<S: AdminState> Service for Admin<S> {
    type Body = Body;

    async fn respond(&self, request: Request<RequestBody>, _peer: PeerAddress) -> Response<Body> {
        let path = request.uri().path().to_owned();
        if *request.method() != Method::POST {
            return if self.0.has_action(&path) {
                method_not_allowed("only POST\n", HeaderValue::from_static("POST"))
            } else {
                self.get_page(request.method(), &path).await
            };
        }
        match self.0.post(request).await {
            Some(response) => response,
            None => self.get_page(&Method::POST, &path).await,
        }
    }
}

impl<S: AdminState> Admin<S> {
    async fn get_page(&self, method: &Method, path: &str) -> Response<Body> {
        if !matches!(*method, Method::GET | Method::HEAD) && PAGES.contains(&path) {
            return method_not_allowed("only GET and HEAD\n", HeaderValue::from_static("GET, HEAD"));
        }
        let response = match path {
            "/livez" => text_response(StatusCode::OK, "alive\n"),
            "/readyz" => match self.0.ready() {
                Ok(()) => text_response(StatusCode::OK, READY),
                Err(reason) => {
                    text_response(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n"))
                }
            },
            "/metrics" => {
                let mut page = text_response(StatusCode::OK, self.0.metrics().await);
                page.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(OPENMETRICS));
                page
            }
            _ => text_response(StatusCode::NOT_FOUND, "not found\n"),
        };
        if *method == Method::HEAD { response.map(|_| body::empty()) } else { response }
    }
}

fn method_not_allowed(text: &'static str, allowed: HeaderValue) -> Response<Body> {
    let mut response = text_response(StatusCode::METHOD_NOT_ALLOWED, text);
    response.headers_mut().insert(ALLOW, allowed);
    response
}

fn text_response(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(body::full(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    struct FixedReadiness(Result<(), &'static str>);

    impl AdminState for FixedReadiness {
        fn ready(&self) -> Result<(), String> {
            self.0.map_err(ToOwned::to_owned)
        }

        async fn metrics(&self) -> String {
            "# EOF\n".to_owned()
        }

        fn has_action(&self, path: &str) -> bool {
            path == "/action"
        }

        async fn post(&self, _request: Request<RequestBody>) -> Option<Response<Body>> {
            None
        }
    }

    async fn get(readiness: Result<(), &'static str>, path: &str) -> (StatusCode, String) {
        let response = Admin(FixedReadiness(readiness)).get_page(&Method::GET, path).await;
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn process_that_is_not_ready_is_alive() {
        assert_eq!(get(Err("draining"), "/livez").await.0, StatusCode::OK);
        let (status, text) = get(Err("draining"), "/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(text.contains("draining"));
        assert_eq!(get(Ok(()), "/readyz").await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn metrics_end_with_the_openmetrics_end_marker() {
        let (status, text) = get(Ok(()), "/metrics").await;
        assert_eq!(status, StatusCode::OK);
        assert!(text.ends_with("# EOF\n"));
        assert_eq!(get(Ok(()), "/fhir/metadata").await.0, StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn admin_listener_rejects_methods_other_than_get_and_head() {
        let response = Admin(FixedReadiness(Ok(()))).get_page(&Method::POST, "/readyz").await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()[ALLOW], "GET, HEAD");
    }
}

//! CORS (WHATWG Fetch 3.3) on every route and for every status.

use crate::support::client::{self, ReceivedResponse};
use crate::support::gateway::RunningGateway;
use crate::support::pacs::{CannedResponse, Pacs, RunningPacs, Study};

const VIEWER_ORIGIN: &str = "https://viewer.example.org";
const CORS_CONFIG: &str =
    "[server.cors]\nallowed_origins = [\"https://viewer.example.org\", \"http://localhost:3000\"]\n";

/// The response headers that a viewer must be able to read.
const EXPOSED_HEADERS: [&str; 9] = [
    "ETag",
    "Last-Modified",
    "Location",
    "Content-Location",
    "Content-Range",
    "Content-Length",
    "Warning",
    "Retry-After",
    "X-Request-Id",
];

async fn start_gateway(config: &str) -> (RunningPacs, RunningGateway) {
    let pacs = Pacs::new()
        .with_study(Study::new("1.2").series("1.2.1", "CT", 1))
        .with_response("/studies/1.5", CannedResponse::status(503).header("Access-Control-Allow-Origin", "*"))
        .with_response(
            "/studies/1.6",
            CannedResponse::bytes("image/png", "x").header("Access-Control-Allow-Origin", "*"),
        )
        .start()
        .await;
    let gateway = RunningGateway::start(&pacs.url(), config).await;
    (pacs, gateway)
}

fn allowed_origin(response: &ReceivedResponse) -> Option<&str> {
    response.header("access-control-allow-origin")
}

const TARGETS: [(&str, u16); 10] = [
    ("/dicom-web/main/studies", 200),
    ("/dicom-web/main/studies/1.6", 200),
    ("/dicom-web/main/studies/1.5", 503),
    ("/dicom-web/main/studies/1.4/metadata", 404),
    ("/dicom-web/main/studies?nonsense=1", 400),
    ("/dicom-web/none/studies", 404),
    ("/fhir/ImagingStudy/1.2", 200),
    ("/fhir/ImagingStudy/1.3", 404),
    ("/fhir/ImagingStudy?started=x", 400),
    ("/fhir/%2e%2e", 400),
];

#[tokio::test]
async fn allowed_origins_can_read_every_response_and_other_origins_none() {
    let (_pacs, gateway) = start_gateway(CORS_CONFIG).await;
    for (target, status) in TARGETS {
        // Twice, because the second response may come from the cache.
        for _ in 0..2 {
            let response = gateway.get_with_headers(target, &[("Origin", VIEWER_ORIGIN)]).await;
            assert_eq!(response.status, status, "{target}");
            assert_eq!(allowed_origin(&response), Some(VIEWER_ORIGIN), "{target}");
            assert_eq!(response.header("access-control-allow-credentials"), Some("true"), "{target}");
            let exposed = response.header("access-control-expose-headers").unwrap();
            for name in EXPOSED_HEADERS {
                assert!(exposed.split(", ").any(|exposed| exposed == name), "{target}: {name}");
            }
        }
        for other in ["null", "https://viewer.example.org.evil.example", "http://viewer.example.org"] {
            let response = gateway.get_with_headers(target, &[("Origin", other)]).await;
            assert_eq!((response.status, allowed_origin(&response)), (status, None), "{target} from {other}");
            assert_eq!(response.header("access-control-allow-credentials"), None);
        }
        let has_vary_origin = |response: &ReceivedResponse| {
            response
                .headers
                .iter()
                .any(|(name, value)| name == "vary" && value.split(", ").any(|name| name == "Origin"))
        };
        assert!(has_vary_origin(&gateway.get(target).await), "{target}: a cache must distinguish origins");
    }
}

#[tokio::test]
async fn preflights_cause_no_upstream_requests() {
    let (_pacs, gateway) = start_gateway(CORS_CONFIG).await;
    for target in ["/dicom-web/main/studies", "/fhir/ImagingStudy/_search", "/nothing"] {
        let preflight = [
            ("Origin", VIEWER_ORIGIN),
            ("Access-Control-Request-Method", "GET"),
            ("Access-Control-Request-Headers", "authorization,range"),
        ];
        let url = format!("{}{target}", gateway.base_url());
        let response = client::send("OPTIONS", &url, &preflight).await;
        assert_eq!((response.status, allowed_origin(&response)), (204, Some(VIEWER_ORIGIN)), "{target}");
        let allowed = response.header("access-control-allow-headers").unwrap().to_ascii_lowercase();
        for name in ["authorization", "range", "accept", "if-none-match", "content-type", "prefer"] {
            assert!(allowed.split(", ").any(|allowed| allowed == name), "{name}");
        }
        assert!(response.header("access-control-allow-methods").unwrap().contains("GET"));
        assert!(response.header("access-control-max-age").is_some());
        let preflight = [("Origin", "https://evil.example"), ("Access-Control-Request-Method", "GET")];
        let response = client::send("OPTIONS", &url, &preflight).await;
        assert_eq!((response.status, allowed_origin(&response)), (204, None), "{target}");
        assert_eq!(response.header("access-control-allow-methods"), None);
        // A request without Access-Control-Request-Method is not a preflight.
        let options = client::send("OPTIONS", &url, &[("Origin", VIEWER_ORIGIN)]).await;
        assert_eq!(options.header("access-control-allow-methods"), None);
        assert_eq!(options.status, if target == "/nothing" { 404 } else { 204 }, "{target}");
    }
    assert_eq!(
        gateway.upstream_request_count("search")
            + gateway.upstream_request_count("retrieve")
            + gateway.upstream_request_count("metadata"),
        0
    );
}

#[tokio::test]
async fn a_wildcard_allows_every_origin_without_credentials() {
    let (_pacs, gateway) = start_gateway("[server.cors]\nallowed_origins = [\"*\"]\n").await;
    for (target, status) in TARGETS {
        let response = gateway.get_with_headers(target, &[("Origin", "https://anywhere.example")]).await;
        assert_eq!((response.status, allowed_origin(&response)), (status, Some("*")), "{target}");
        assert_eq!(response.header("access-control-allow-credentials"), None);
    }
}

#[tokio::test]
async fn no_other_origin_is_allowed_by_default() {
    let (_pacs, gateway) = start_gateway("").await;
    for (target, status) in TARGETS {
        let response = gateway.get_with_headers(target, &[("Origin", VIEWER_ORIGIN)]).await;
        assert_eq!((response.status, allowed_origin(&response)), (status, None), "{target}");
    }
}

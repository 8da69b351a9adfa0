//! The hosts under which the gateway responds: other hosts get 421, so that no web page of another site can read studies by DNS
//! rebinding.

use crate::support::gateway::RunningGateway;
use crate::support::pacs::{Pacs, RunningPacs, Study};

const TARGETS: [&str; 5] = [
    "/fhir/metadata",
    "/fhir/ImagingStudy",
    "/fhir/ImagingStudy/1.2.1",
    "/dicom-web/main/studies",
    "/dicom-web/studies/1.2.1/metadata",
];

async fn start(server_keys: &str) -> (RunningGateway, RunningPacs) {
    let pacs = Pacs::new().with_study(Study::new("1.2.1").series("1.2.1.1", "CT", 1)).start().await;
    let gateway = RunningGateway::start(&pacs.url(), &format!("[server]\n{server_keys}\n")).await;
    // The study is cached from now on, because the service returns cached responses by another code path.
    assert_eq!(gateway.get("/fhir/ImagingStudy/1.2.1").await.status, 200);
    (gateway, pacs)
}

async fn status(gateway: &RunningGateway, target: &str, host: &str) -> u16 {
    gateway.get_with_headers(target, &[("host", host)]).await.status
}

#[tokio::test]
async fn a_request_for_an_unknown_host_is_rejected_with_421_for_every_route() {
    for server_keys in ["", "public_url = \"https://imaging.example/gateway\""] {
        let (gateway, _pacs) = start(server_keys).await;
        for target in TARGETS {
            for host in ["attacker.example", "attacker.example:8080", "127.0.0.1.attacker.example"] {
                let response = gateway.get_with_headers(target, &[("host", host)]).await;
                assert_eq!(response.status, 421, "{target} {host}: {}", response.text());
                assert!(response.text().contains("server.hosts"), "{}", response.text());
                assert!(!response.text().contains("attacker"), "{}", response.text());
                assert!(!response.text().contains("trusted_proxies"), "{}", response.text());
                for header in [("forwarded", "for=192.0.2.1"), ("x-forwarded-host", "imaging.example")] {
                    let forwarded = gateway.get_with_headers(target, &[("host", host), header]).await;
                    assert_eq!(forwarded.status, 421, "{target} {header:?}");
                    assert!(forwarded.text().contains("server.trusted_proxies"), "{}", forwarded.text());
                }
            }
            assert_eq!(status(&gateway, target, "localhost:8080").await, 200, "{target}");
            assert_eq!(status(&gateway, target, "192.0.2.7").await, 200, "{target}");
        }
    }
}

#[tokio::test]
async fn configured_hosts_and_the_host_of_the_public_url_are_accepted() {
    let (gateway, _pacs) =
        start("public_url = \"https://imaging.example/gateway\"\nhosts = [\"gateway.internal\"]").await;
    for target in TARGETS {
        for host in ["imaging.example", "imaging.example:8443", "gateway.internal", "Gateway.Internal:80"] {
            assert_eq!(status(&gateway, target, host).await, 200, "{target} {host}");
        }
        assert_eq!(status(&gateway, target, "other.internal").await, 421, "{target}");
    }
}

#[tokio::test]
async fn a_trusted_proxy_may_send_any_host() {
    let (gateway, _pacs) = start("trusted_proxies = [\"127.0.0.1/32\"]").await;
    for target in TARGETS {
        assert_eq!(status(&gateway, target, "imaging.example").await, 200, "{target}");
    }
}

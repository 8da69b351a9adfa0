//! The public listener with TLS: it supports HTTP/2 and HTTP/1.1 on one port, and rejects HTTP without TLS.

use reqwest::{Certificate, Client, ClientBuilder, Version};

use crate::support::client;
use crate::support::gateway::RunningGateway;

async fn start_gateway() -> RunningGateway {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls");
    let config = format!("[server.tls]\ncert = \"{folder}/server.pem\"\nkey = \"{folder}/server.key\"\n");
    RunningGateway::start_with_samples_and_config(&config).await
}

fn new_client(build: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Client {
    let ca_certificate = Certificate::from_pem(include_bytes!("tls/ca.pem")).unwrap();
    build(Client::builder().no_proxy().tls_certs_only([ca_certificate])).build().unwrap()
}

#[tokio::test]
async fn the_tls_listener_negotiates_http2_and_http1_on_one_port() {
    let gateway = start_gateway().await;
    for (client, version) in [
        (new_client(|builder| builder), Version::HTTP_2),
        (new_client(ClientBuilder::http1_only), Version::HTTP_11),
    ] {
        for path in ["/fhir/Endpoint", "/dicom-web/main/studies", "/dicom-web/studies?limit=2"] {
            let response = client.get(format!("{}{path}", gateway.base_url())).send().await.unwrap();
            assert_eq!((response.version(), response.status().as_u16()), (version, 200), "{path}");
            let text = response.text().await.unwrap();
            assert!(
                text.contains(&format!("{}/dicom-web/", gateway.base_url())),
                "links do not use https: {text}"
            );
            assert!(!text.contains("http://127.0.0.1"), "{path}: {text}");
        }
    }
}

#[tokio::test]
async fn the_tls_listener_rejects_http_without_tls_and_clients_verify_its_certificate() {
    let gateway = start_gateway().await;
    let http_url = gateway.base_url().replace("https://", "http://");
    let response = client::get(&format!("{http_url}/fhir/metadata")).await;
    assert_eq!((response.status, response.is_complete), (0, false));
    let client_without_ca = Client::builder().no_proxy().build().unwrap();
    assert!(client_without_ca.get(format!("{}/fhir/metadata", gateway.base_url())).send().await.is_err());
}

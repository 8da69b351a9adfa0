//! The public listener with TLS: HTTP/2 and HTTP/1.1 on one port, and no plain HTTP.

use reqwest::{Certificate, Client, ClientBuilder, Version};

use crate::support::client;
use crate::support::gateway::RunningGateway;

async fn gateway() -> RunningGateway {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls");
    let more = format!("[server.tls]\ncert = \"{folder}/server.pem\"\nkey = \"{folder}/server.key\"\n");
    RunningGateway::start_with_samples_and_config(&more).await
}

fn client(build: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Client {
    let authority = Certificate::from_pem(include_bytes!("tls/ca.pem")).unwrap();
    build(Client::builder().no_proxy().tls_certs_only([authority])).build().unwrap()
}

#[tokio::test]
async fn the_tls_listener_negotiates_http2_and_http1_on_one_port() {
    let gateway = gateway().await;
    for (client, version) in
        [(client(|builder| builder), Version::HTTP_2), (client(ClientBuilder::http1_only), Version::HTTP_11)]
    {
        for path in ["/fhir/Endpoint", "/dicom-web/main/studies", "/dicom-web/studies?limit=2"] {
            let response = client.get(format!("{}{path}", gateway.base_url())).send().await.unwrap();
            assert_eq!((response.version(), response.status().as_u16()), (version, 200), "{path}");
            let text = response.text().await.unwrap();
            assert!(text.contains(&format!("{}/dicom-web/", gateway.base_url())), "links use https: {text}");
            assert!(!text.contains("http://127.0.0.1"), "{path}: {text}");
        }
    }
}

#[tokio::test]
async fn the_tls_listener_rejects_plain_http_and_its_certificate_is_verified() {
    let gateway = gateway().await;
    let plain = gateway.base_url().replace("https://", "http://");
    let response = client::get(&format!("{plain}/fhir/metadata")).await;
    assert_eq!((response.status, response.is_complete), (0, false));
    let untrusting = Client::builder().no_proxy().build().unwrap();
    assert!(untrusting.get(format!("{}/fhir/metadata", gateway.base_url())).send().await.is_err());
}

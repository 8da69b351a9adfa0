//! The public listener with a certificate: one port for HTTP/2 and HTTP/1.1, and nothing in the clear.

use reqwest::{Certificate, Client, ClientBuilder, Version};

use crate::support::client;
use crate::support::gateway::RunningGateway;

async fn gateway() -> RunningGateway {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls");
    let more = format!("[server.tls]\ncert = \"{folder}/server.pem\"\nkey = \"{folder}/server.key\"\n");
    RunningGateway::over_samples_with(&more).await
}

fn client(build: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Client {
    let authority = Certificate::from_pem(include_bytes!("tls/ca.pem")).unwrap();
    build(Client::builder().no_proxy().tls_certs_only([authority])).build().unwrap()
}

#[tokio::test]
async fn the_client_chooses_the_version_on_one_port() {
    let gateway = gateway().await;
    for (client, version) in
        [(client(|builder| builder), Version::HTTP_2), (client(ClientBuilder::http1_only), Version::HTTP_11)]
    {
        for path in ["/fhir/Endpoint", "/dicom-web/main/studies", "/dicom-web/studies?limit=2"] {
            let answer = client.get(format!("{}{path}", gateway.address())).send().await.unwrap();
            assert_eq!((answer.version(), answer.status().as_u16()), (version, 200), "{path}");
            let text = answer.text().await.unwrap();
            assert!(
                text.contains(&format!("{}/dicom-web/", gateway.address())),
                "links are secure too: {text}"
            );
            assert!(!text.contains("http://127.0.0.1"), "{path}: {text}");
        }
    }
}

#[tokio::test]
async fn nothing_is_said_in_the_clear() {
    let gateway = gateway().await;
    let clear = gateway.address().replace("https://", "http://");
    let answer = client::get(&format!("{clear}/fhir/metadata")).await;
    assert_eq!((answer.status, answer.complete), (0, false));
    let stranger = Client::builder().no_proxy().build().unwrap();
    assert!(stranger.get(format!("{}/fhir/metadata", gateway.address())).send().await.is_err());
}

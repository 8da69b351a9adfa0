//! Clients that disconnect: their upstream requests are canceled before any deadline, and permits and connections are released. The same
//! happens at the deadline of a request.

use std::time::Duration;

use http_body_util::BodyExt;
use tokio::io::AsyncReadExt;

use crate::support::client;
use crate::support::gateway::RunningGateway;
use crate::support::http2::Http2Client;
use crate::support::pacs::{CannedResponse, Framing, Pacs, RunningPacs};
use crate::support::retries::retry_with_longer_deadlines;
use crate::support::tls_pacs::{BodyEnd, TRUSTED_CA_CONFIG, TlsPacs};

const ENDLESS_BODY_PATH: &str = "/dicom-web/main/studies/1.2/bulkdata/1";
const SMALL_BODY_PATH: &str = "/dicom-web/main/studies/1.2/bulkdata/2";
const STALLED_BODY_PATH: &str = "/dicom-web/main/studies/1.2/bulkdata/3";

/// The duration of all configured timeouts. A request that ends earlier was canceled because its client disconnected.
const DEADLINE: Duration = Duration::from_hours(1);

/// Starts an archive, and a gateway that allows one search and eight retrievals at the same time: a permit that is not released soon
/// blocks other requests.
async fn start() -> (RunningPacs, RunningGateway) {
    let pacs = Pacs::new()
        .with_response("/studies/1.2/bulkdata/1", CannedResponse::endless("image/png", vec![7; 65536]))
        .with_response("/studies/1.2/bulkdata/2", CannedResponse::bytes("image/png", "whole"))
        .with_response("/studies/1.2/bulkdata/3", CannedResponse::never_sent())
        .start()
        .await;
    let config = "max_concurrency = 1\ntimeout = \"1h\"\n[server]\nrequest_timeout = \"1h\"";
    let gateway = RunningGateway::start(&pacs.url(), config).await;
    (pacs, gateway)
}

/// Asserts that no request is in flight at the archive or in the metrics, and that all eight permits are available.
async fn assert_all_released(pacs: &RunningPacs, gateway: &RunningGateway) {
    pacs.wait_until_idle().await;
    let idle_metrics = [
        "gateway_requests_in_flight 0",
        "gateway_upstream_requests_in_flight{archive=\"main\",class=\"retrieve\"} 0",
    ];
    let idle = async {
        while !idle_metrics.iter().all(|line| gateway.metrics().contains(line)) {
            tokio::task::yield_now().await;
        }
    };
    let idle = tokio::time::timeout(DEADLINE / 12, idle).await;
    assert!(idle.is_ok(), "{}", gateway.metrics());
    let responses = futures_util::future::join_all((0..8).map(|_| gateway.get(SMALL_BODY_PATH))).await;
    assert!(responses.iter().all(|response| response.is_complete && response.text() == "whole"));
}

#[tokio::test]
async fn a_disconnect_cancels_the_upstream_request() {
    let (pacs, gateway) = start().await;
    // There are more requests than permits, so each permit must be released.
    for round in 1..=12 {
        let mut stream =
            client::send_request("GET", &format!("{}{ENDLESS_BODY_PATH}", gateway.base_url()), &[]).await;
        let mut received = vec![0; 100_000];
        stream.read_exact(&mut received).await.unwrap();
        assert!(
            gateway.metrics().contains("upstream_requests_in_flight{archive=\"main\",class=\"retrieve\"} 1")
        );
        drop(stream);
        pacs.wait_until_idle().await;
        assert_eq!(pacs.targets().len(), round);
    }
    let waiting =
        client::send_request("GET", &format!("{}{STALLED_BODY_PATH}", gateway.base_url()), &[]).await;
    pacs.wait_for_requests(13).await;
    drop(waiting);
    assert_all_released(&pacs, &gateway).await;
}

#[tokio::test]
async fn the_deadline_of_a_request_ends_it_with_504_and_cancels_the_upstream_request() {
    let config = "timeout = \"1h\"\n[server]\nrequest_timeout = \"50ms\"";
    for path in [
        "/fhir/ImagingStudy",
        "/fhir/ImagingStudy?_format=xml",
        "/dicom-web/studies",
        "/dicom-web/studies/1.2/series",
        "/dicom-web/studies/1.2/metadata",
        "/dicom-web/main/studies",
        "/dicom-web/main/studies/1.2/metadata",
        "/dicom-web/main/studies/1.2/rendered",
        SMALL_BODY_PATH,
    ] {
        let pacs = Pacs::new().with_fallback(CannedResponse::never_sent()).start().await;
        let gateway = RunningGateway::start(&pacs.url(), config).await;
        let response = gateway.get(path).await;
        assert_eq!((response.status, response.is_complete), (504, true), "{path}: {}", response.text());
        assert!(response.text().contains("in time"), "{path}: {}", response.text());
        // Work that other requests can use goes on: FHIR searches, and locating a study.
        if path.starts_with("/dicom-web/main/") {
            pacs.wait_until_idle().await;
        }
    }
}

#[tokio::test]
async fn the_body_of_a_response_has_no_deadline() {
    retry_with_longer_deadlines(|deadline| async move {
        let slow = CannedResponse::bytes("image/png", "0123456789").with_framing(Framing::Chunked);
        let pacs = Pacs::new()
            .with_response("/studies/1.2/bulkdata/2", slow.in_pieces(1, deadline / 3))
            .start()
            .await;
        let config = format!("[server]\nrequest_timeout = \"{}ms\"", deadline.as_millis());
        let gateway = RunningGateway::start(&pacs.url(), &config).await;
        let response = gateway.get(SMALL_BODY_PATH).await;
        assert_eq!((response.status, response.is_complete), (200, true), "{}", response.text());
        assert_eq!(response.text(), "0123456789");
    })
    .await;
}

#[tokio::test]
async fn a_thousand_disconnects_release_all_permits() {
    let (pacs, gateway) = start().await;
    let url = format!("{}{ENDLESS_BODY_PATH}", gateway.base_url());
    for _ in 0..125 {
        let clients = (0..8).map(|_| async {
            let mut stream = client::send_request("GET", &url, &[]).await;
            let mut received = vec![0; 1000];
            stream.read_exact(&mut received).await.unwrap();
        });
        futures_util::future::join_all(clients).await;
    }
    assert_eq!(pacs.targets().len(), 1000);
    assert_all_released(&pacs, &gateway).await;
}

#[tokio::test]
async fn a_thousand_stream_resets_cancel_only_the_upstream_requests_of_their_streams() {
    let (pacs, gateway) = start().await;
    // The HTTP/2 library of the client closes a connection after a thousand resets.
    for _ in 0..10 {
        let client = Http2Client::connect(gateway.base_url()).await;
        let retrieve = || async {
            let mut response = client.send(ENDLESS_BODY_PATH, &[]).await.unwrap();
            response.body_mut().frame().await.unwrap().unwrap();
            response
        };
        let mut open_stream = retrieve().await;
        for _ in 0..20 {
            drop(futures_util::future::join_all((0..5).map(|_| retrieve())).await);
            pacs.wait_for_open_requests(1).await;
        }
        for _ in 0..100 {
            open_stream.body_mut().frame().await.unwrap().unwrap();
        }
        assert_eq!(client.get(SMALL_BODY_PATH, &[]).await.text(), "whole", "the connection is still usable");
        drop(open_stream);
        pacs.wait_until_idle().await;
    }
    assert_all_released(&pacs, &gateway).await;
}

#[tokio::test]
async fn a_stream_reset_before_the_response_cancels_the_upstream_request() {
    let (pacs, gateway) = start().await;
    let client = Http2Client::connect(gateway.base_url()).await;
    for _ in 0..20 {
        let request = tokio::spawn({
            let client = client.clone();
            async move { client.send(STALLED_BODY_PATH, &[]).await.is_some() }
        });
        pacs.wait_for_open_requests(1).await;
        request.abort();
        pacs.wait_until_idle().await;
    }
    assert_all_released(&pacs, &gateway).await;
}

#[tokio::test]
async fn the_end_of_a_connection_cancels_the_upstream_requests_of_all_its_streams() {
    let (pacs, gateway) = start().await;
    for _ in 0..20 {
        let client = Http2Client::connect(gateway.base_url()).await;
        let responses =
            futures_util::future::join_all((0..8).map(|_| client.send(ENDLESS_BODY_PATH, &[]))).await;
        assert!(responses.iter().all(Option::is_some));
        drop((client, responses));
        pacs.wait_until_idle().await;
    }
    assert_all_released(&pacs, &gateway).await;
}

/// Over HTTP/2 all retrievals share a connection to the archive, which the HTTP/2 library closes after a thousand resets.
#[tokio::test]
async fn disconnects_do_not_interrupt_transfers_of_other_clients() {
    let pacs = TlsPacs::start().await;
    pacs.respond_with("image/png", &[7; 16384], BodyEnd::Endless);
    let gateway = RunningGateway::start(&pacs.url(), TRUSTED_CA_CONFIG).await;
    let url = format!("{}{ENDLESS_BODY_PATH}", gateway.base_url());
    let retrieve = || async {
        let mut stream = client::send_request("GET", &url, &[]).await;
        stream.read_exact(&mut [0; 1000]).await.unwrap();
        stream
    };
    let mut open_stream = retrieve().await;
    for _ in 0..150 {
        drop(futures_util::future::join_all((0..8).map(|_| retrieve())).await);
        open_stream.read_exact(&mut [0; 1000]).await.unwrap();
    }
    // The buffers cannot contain so many bytes.
    open_stream.read_exact(&mut vec![0; 20_000_000]).await.expect("the transfer continues");
}

//! Clients that go away: what they asked of the archive ends with them, before any deadline, and nothing of it stays.

use std::time::Duration;

use http_body_util::BodyExt;
use tokio::io::AsyncReadExt;

use crate::support::client;
use crate::support::gateway::RunningGateway;
use crate::support::http2::Http2;
use crate::support::pacs::{Answer, Pacs, RunningPacs};
use crate::support::secure_pacs::{End, SecurePacs, TRUST};

const ENDLESS: &str = "/dicom-web/main/studies/1.2/bulkdata/1";
const SMALL: &str = "/dicom-web/main/studies/1.2/bulkdata/2";
const SILENT: &str = "/dicom-web/main/studies/1.2/bulkdata/3";

/// No deadline ends a call before this: a call that ends earlier was ended because its client went away.
const DEADLINES: Duration = Duration::from_hours(1);

/// Eight retrievals may be under way at once: one permit that stays away is soon missed.
async fn servers() -> (RunningPacs, RunningGateway) {
    let pacs = Pacs::new()
        .at("/studies/1.2/bulkdata/1", Answer::endless("image/png", vec![7; 65536]))
        .at("/studies/1.2/bulkdata/2", Answer::bytes("image/png", "whole"))
        .at("/studies/1.2/bulkdata/3", Answer::hangs())
        .start()
        .await;
    let deadlines = "max_concurrency = 1\ntimeout = \"1h\"\n[server]\nrequest_timeout = \"1h\"";
    let gateway = RunningGateway::over(&pacs.url(), deadlines).await;
    (pacs, gateway)
}

/// Nothing is under way, by the archive's word, by the metrics, and as there are permits for eight more.
async fn nothing_stays(pacs: &RunningPacs, gateway: &RunningGateway) {
    pacs.until_idle().await;
    let none = [
        "gateway_requests_in_flight 0",
        "gateway_upstream_requests_in_flight{archive=\"main\",class=\"retrieve\"} 0",
    ];
    let settled = async {
        while !none.iter().all(|line| gateway.metrics().contains(line)) {
            tokio::task::yield_now().await;
        }
    };
    let settled = tokio::time::timeout(DEADLINES / 12, settled).await;
    assert!(settled.is_ok(), "{}", gateway.metrics());
    let wholes = futures_util::future::join_all((0..8).map(|_| gateway.get(SMALL))).await;
    assert!(wholes.iter().all(|whole| whole.complete && whole.text() == "whole"));
}

#[tokio::test]
async fn a_client_that_goes_away_ends_the_call_to_the_archive() {
    let (pacs, gateway) = servers().await;
    // More often than there are permits, each of which must come back.
    for round in 1..=12 {
        let mut stream = client::ask("GET", &format!("{}{ENDLESS}", gateway.address()), &[]).await;
        let mut some = vec![0; 100_000];
        stream.read_exact(&mut some).await.unwrap();
        assert!(
            gateway.metrics().contains("upstream_requests_in_flight{archive=\"main\",class=\"retrieve\"} 1")
        );
        drop(stream);
        pacs.until_idle().await;
        assert_eq!(pacs.targets().len(), round);
    }
    let waiting = client::ask("GET", &format!("{}{SILENT}", gateway.address()), &[]).await;
    pacs.until_asked(13).await;
    drop(waiting);
    nothing_stays(&pacs, &gateway).await;
}

#[tokio::test]
async fn a_thousand_clients_that_go_away_leave_nothing_behind() {
    let (pacs, gateway) = servers().await;
    let url = format!("{}{ENDLESS}", gateway.address());
    for _ in 0..125 {
        let clients = (0..8).map(|_| async {
            let mut stream = client::ask("GET", &url, &[]).await;
            let mut some = vec![0; 1000];
            stream.read_exact(&mut some).await.unwrap();
        });
        futures_util::future::join_all(clients).await;
    }
    assert_eq!(pacs.targets().len(), 1000);
    nothing_stays(&pacs, &gateway).await;
}

#[tokio::test]
async fn a_thousand_streams_that_are_reset_end_their_own_calls_and_no_other() {
    let (pacs, gateway) = servers().await;
    // A client's library gives a connection up after a thousand resets.
    for _ in 0..10 {
        let client = Http2::to(gateway.address()).await;
        let begun = || async {
            let mut answer = client.ask(ENDLESS, &[]).await.unwrap();
            answer.body_mut().frame().await.unwrap().unwrap();
            answer
        };
        let mut stays = begun().await;
        for _ in 0..20 {
            drop(futures_util::future::join_all((0..5).map(|_| begun())).await);
            pacs.until_answering(1).await;
        }
        for _ in 0..100 {
            stays.body_mut().frame().await.unwrap().unwrap();
        }
        assert_eq!(client.get(SMALL, &[]).await.text(), "whole", "the connection serves on");
        drop(stays);
        pacs.until_idle().await;
    }
    nothing_stays(&pacs, &gateway).await;
}

#[tokio::test]
async fn a_stream_that_is_reset_before_its_answer_ends_its_call() {
    let (pacs, gateway) = servers().await;
    let client = Http2::to(gateway.address()).await;
    for _ in 0..20 {
        let asking = tokio::spawn({
            let client = client.clone();
            async move { client.ask(SILENT, &[]).await.is_some() }
        });
        pacs.until_answering(1).await;
        asking.abort();
        pacs.until_idle().await;
    }
    nothing_stays(&pacs, &gateway).await;
}

#[tokio::test]
async fn a_connection_that_goes_away_ends_the_calls_of_all_its_streams() {
    let (pacs, gateway) = servers().await;
    for _ in 0..20 {
        let client = Http2::to(gateway.address()).await;
        let answers = futures_util::future::join_all((0..8).map(|_| client.ask(ENDLESS, &[]))).await;
        assert!(answers.iter().all(Option::is_some));
        drop((client, answers));
        pacs.until_idle().await;
    }
    nothing_stays(&pacs, &gateway).await;
}

/// Over HTTP/2 all retrievals share a connection to the archive, which the library gives up after a thousand resets.
#[tokio::test]
async fn clients_that_go_away_break_no_transfer_of_those_who_stay() {
    let pacs = SecurePacs::start().await;
    pacs.says("image/png", &[7; 16384], End::Never);
    let gateway = RunningGateway::over(&pacs.url(), TRUST).await;
    let url = format!("{}{ENDLESS}", gateway.address());
    let ask = || async {
        let mut stream = client::ask("GET", &url, &[]).await;
        stream.read_exact(&mut [0; 1000]).await.unwrap();
        stream
    };
    let mut stays = ask().await;
    for _ in 0..150 {
        drop(futures_util::future::join_all((0..8).map(|_| ask())).await);
        stays.read_exact(&mut [0; 1000]).await.unwrap();
    }
    // More than was under way when it was begun.
    stays.read_exact(&mut vec![0; 20_000_000]).await.expect("the transfer goes on");
}

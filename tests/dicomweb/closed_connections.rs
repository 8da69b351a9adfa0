//! Archives that close connections which the gateway keeps for further requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Barrier;

use crate::support::client;
use crate::support::gateway::RunningGateway;

/// The number of connections that the archive has when it begins to close them.
const CONNECTION_COUNT: usize = 4;

/// Reads the next request head; returns whether there is one.
async fn read_head(stream: &mut TcpStream) -> bool {
    let (mut head, mut buffer) = (Vec::new(), [0; 4096]);
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(length) if length > 0 => head.extend_from_slice(&buffer[..length]),
            _ => return false,
        }
    }
    true
}

/// Starts an archive that responds to the first request of each connection, to the first [`CONNECTION_COUNT`] at the same time, and closes
/// the connection when it has received the second one. Returns its URL and the number of closed connections.
async fn start_archive() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/dicom-web", listener.local_addr().unwrap());
    let closed_count = Arc::new(AtomicUsize::new(0));
    let (barrier, closed) = (Arc::new(Barrier::new(CONNECTION_COUNT)), Arc::clone(&closed_count));
    tokio::spawn(async move {
        for number in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (barrier, closed) = (Arc::clone(&barrier), Arc::clone(&closed));
            tokio::spawn(async move {
                if !read_head(&mut stream).await {
                    return;
                }
                if number < CONNECTION_COUNT {
                    barrier.wait().await;
                }
                let head =
                    "HTTP/1.1 200 OK\r\nContent-Type: application/dicom+json\r\nContent-Length: 2\r\n\r\n[]";
                stream.write_all(head.as_bytes()).await.unwrap();
                if read_head(&mut stream).await {
                    closed.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    (url, closed_count)
}

/// Sends requests while all pooled connections are about to be closed; returns how many of these connections were used.
async fn send_on_closed_connections() -> usize {
    let (url, closed_count) = start_archive().await;
    let gateway = RunningGateway::start(&url, "max_concurrency = 8\n").await;
    let url = |number: usize| {
        format!("{}/dicom-web/main/studies/1.2/series?SeriesNumber={number}", gateway.base_url())
    };
    let first_urls: Vec<_> = (0..CONNECTION_COUNT).map(url).collect();
    let responses = join_all(first_urls.iter().map(|url| client::get(url))).await;
    assert!(responses.iter().all(|response| response.status == 200));
    for number in 0..CONNECTION_COUNT {
        let response = client::get(&url(100 + number)).await;
        assert_eq!(response.status, 200, "{}", response.text());
    }
    closed_count.load(Ordering::Relaxed)
}

#[tokio::test]
async fn a_request_is_repeated_on_a_new_connection_if_the_archive_closes_all_pooled_ones() {
    // On a busy machine the idle connections may have expired before they are used.
    for _ in 0..20 {
        if send_on_closed_connections().await > 1 {
            return;
        }
    }
    panic!("no pooled connection was used");
}

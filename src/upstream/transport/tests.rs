//! Tests of both clients with a resolver that takes the addresses of host names from a table.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use http::HeaderMap;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::upstream::{ArchiveId, Credentials, Profile};

fn settings(port: u16) -> Settings {
    let url: Url = format!("http://pacs.example:{port}/dicom-web").parse().unwrap();
    Settings {
        id: ArchiveId::parse("main").unwrap(),
        name: "Main".to_owned(),
        qido_url: url.clone(),
        wado_url: url,
        wado_uri_url: None,
        rest_url: None,
        profile: Profile::default(),
        uid_rule: dicom_model::UidRule::Strict,
        credentials: Credentials::None,
        timeout: Duration::from_secs(10),
        min_rate: 1,
        max_concurrency: 4,
        max_queue: 4,
        queue_timeout: Duration::from_secs(10),
        stream_buffer: 64 * 1024,
        allow_link_local: false,
        ca: None,
    }
}

/// Starts a server on the loopback interface that answers one request per connection; returns its port.
async fn start_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n[]")
                .await;
        }
    });
    port
}

/// Creates a resolver that returns one list of addresses after the other, then the last list again. Also returns the
/// number of lookups.
fn resolver_with(lists: &'static [&'static [&'static str]]) -> (Resolver, Arc<Mutex<usize>>) {
    let lookup_count = Arc::new(Mutex::new(0));
    let shared_count = Arc::clone(&lookup_count);
    let resolver = Resolver::with_lookup(move |name| {
        assert_eq!(name, "pacs.example");
        let mut count = shared_count.lock().unwrap();
        let list = lists[(*count).min(lists.len() - 1)];
        *count += 1;
        Ok(list.iter().map(|address| address.parse::<IpAddr>().unwrap()).collect())
    });
    (resolver, lookup_count)
}

async fn get(transport: &Transport, body_use: BodyUse, settings: &Settings) -> Result<Bytes, TransportError> {
    let outgoing = OutgoingRequest { url: settings.qido_url.clone(), headers: HeaderMap::new() };
    let response = transport.send(body_use, ConnectionUse::Pooled, outgoing).await?;
    Ok(response.into_body().collect().await?.to_bytes())
}

#[tokio::test]
async fn a_host_name_that_changes_its_address_does_not_lead_to_a_forbidden_address() {
    let settings = settings(start_server().await);
    for body_use in [BodyUse::Read, BodyUse::Forward] {
        let (resolver, lookup_count) =
            resolver_with(&[&["127.0.0.1"], &["169.254.169.254", "fe80::1"], &["0.0.0.0", "127.0.0.1"]]);
        let transport = Transport::with_resolver(&resolver, &settings).unwrap();
        assert_eq!(get(&transport, body_use, &settings).await.unwrap(), "[]");
        // The name was looked up once, and the resulting address was called.
        assert_eq!(*lookup_count.lock().unwrap(), 1, "{body_use:?}");
        assert_eq!(
            get(&transport, body_use, &settings).await,
            Err(TransportError::ForbiddenAddress),
            "{body_use:?}"
        );
        // Of several addresses only those that are allowed are called.
        assert_eq!(get(&transport, body_use, &settings).await.unwrap(), "[]", "{body_use:?}");
        assert_eq!(*lookup_count.lock().unwrap(), 3, "{body_use:?}");
    }
}

#[tokio::test]
async fn a_host_name_without_an_address_is_reported_as_a_failed_lookup() {
    let settings = settings(start_server().await);
    let resolver = Resolver::with_lookup(|_| Err(std::io::Error::other("no such name")));
    let transport = Transport::with_resolver(&resolver, &settings).unwrap();
    for body_use in [BodyUse::Read, BodyUse::Forward] {
        let unreachable = Err(TransportError::Unreachable(ConnectFailure::NameLookup));
        assert_eq!(get(&transport, body_use, &settings).await, unreachable);
    }
}

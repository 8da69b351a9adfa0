//! Host names that are resolved from a table of the test.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use http::{HeaderMap, Method};
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
        profile: Profile::default(),
        credentials: Credentials::None,
        timeout: Duration::from_secs(10),
        max_concurrency: 4,
        stream_buffer: 64 * 1024,
        allow_link_local: false,
        ca: None,
    }
}

/// A server on the loopback interface that answers one request per connection; returns its port.
async fn listener() -> u16 {
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

/// Resolves to one list of addresses after the other, then to the last list again; also returns how often it was called.
fn resolver_of(lists: &'static [&'static [&'static str]]) -> (Resolver, Arc<Mutex<usize>>) {
    let lookups = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&lookups);
    let resolver = Resolver::by(move |name| {
        assert_eq!(name, "pacs.example");
        let mut count = counted.lock().unwrap();
        let list = lists[(*count).min(lists.len() - 1)];
        *count += 1;
        Ok(list.iter().map(|address| address.parse::<IpAddr>().unwrap()).collect())
    });
    (resolver, lookups)
}

async fn ask(transport: &Transport, purpose: BodyUse, settings: &Settings) -> Result<Bytes, TransportError> {
    let outgoing =
        Outgoing { method: Method::GET, url: settings.qido_url.clone(), headers: HeaderMap::new() };
    let response = transport.send(purpose, outgoing).await?;
    Ok(response.into_body().collect().await?.to_bytes())
}

#[tokio::test]
async fn a_name_that_changes_its_address_is_not_followed_to_a_forbidden_one() {
    let settings = settings(listener().await);
    for purpose in [BodyUse::Read, BodyUse::Carry] {
        let (resolver, lookups) =
            resolver_of(&[&["127.0.0.1"], &["169.254.169.254", "fe80::1"], &["0.0.0.0", "127.0.0.1"]]);
        let transport = Transport::resolving_by(resolver, &settings).unwrap();
        assert_eq!(ask(&transport, purpose, &settings).await.unwrap(), "[]");
        // The address was looked up once, and the address found is the one that was called.
        assert_eq!(*lookups.lock().unwrap(), 1, "{purpose:?}");
        assert_eq!(
            ask(&transport, purpose, &settings).await,
            Err(TransportError::ForbiddenAddress),
            "{purpose:?}"
        );
        // Of several addresses the permitted ones are called.
        assert_eq!(ask(&transport, purpose, &settings).await.unwrap(), "[]", "{purpose:?}");
        assert_eq!(*lookups.lock().unwrap(), 3, "{purpose:?}");
    }
}

#[tokio::test]
async fn a_name_that_has_no_address_is_not_reached() {
    let settings = settings(listener().await);
    let resolver = Resolver::by(|_| Err(std::io::Error::other("no such name")));
    let transport = Transport::resolving_by(resolver, &settings).unwrap();
    for purpose in [BodyUse::Read, BodyUse::Carry] {
        let unreachable = Err(TransportError::Unreachable(ConnectFailure::NameLookup));
        assert_eq!(ask(&transport, purpose, &settings).await, unreachable);
    }
}

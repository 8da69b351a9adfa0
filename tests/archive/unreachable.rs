//! Why an archive cannot be reached: both HTTP clients report the same cause, and `check` reports it with the host name.

use dicom_model::{Attributes, StudyUid};
use dicomweb_gateway::commands::check::{ArchiveToCheck, check};
use dicomweb_gateway::telemetry::Metrics;
use dicomweb_gateway::upstream::{
    Archive, ArchiveErrorKind as Kind, ConnectFailure, DicomResource, QidoQuery, Retrieval, SearchLevel,
    Settings, UpstreamRequest,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use super::settings;
use crate::support::archive_root::ArchiveRoot;
use crate::support::client;
use crate::support::tls_pacs::TlsPacs;

/// The cause that both HTTP clients report; they must agree.
async fn failure(settings: &Settings) -> ConnectFailure {
    let archive = || Archive::new(settings.clone(), Metrics::default()).unwrap();
    let search = UpstreamRequest::search(QidoQuery::new(SearchLevel::Studies));
    let read = archive().rows(search, |_: Attributes| {}).await.unwrap_err();
    let study = Retrieval::whole(DicomResource::Study(StudyUid::parse("1.2").unwrap()));
    let forwarded = archive().send(UpstreamRequest::retrieve(study)).await.unwrap_err();
    let Kind::Unreachable(failure) = forwarded.kind else { panic!("{forwarded}") };
    assert!(matches!(read.kind, Kind::Unreachable(other) if other == failure), "{read}, but {forwarded}");
    failure
}

fn trusting(mut settings: Settings) -> Settings {
    settings.ca = Some(include_bytes!("../tls/ca.pem").to_vec());
    settings
}

/// A port of another loopback address that forwards to port `to`.
async fn forward(to: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                let _ = copy_bidirectional(&mut stream, &mut server).await;
            });
        }
    });
    port
}

#[tokio::test]
async fn an_unknown_host_name_is_a_failed_name_lookup() {
    let failure = failure(&settings("http://pacs.invalid/dicom-web")).await;
    assert_eq!(failure, ConnectFailure::NameLookup);
}

#[tokio::test]
async fn a_port_on_which_nothing_listens_refuses_the_connection() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    for scheme in ["http", "https"] {
        let failure = failure(&settings(&format!("{scheme}://127.0.0.1:{port}/dicom-web"))).await;
        assert_eq!(failure, ConnectFailure::Refused, "{scheme}");
    }
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_untrusted() {
    let pacs = TlsPacs::start().await;
    assert_eq!(failure(&settings(&pacs.url())).await, ConnectFailure::UntrustedCertificate);
    let text = ConnectFailure::UntrustedCertificate.to_string();
    assert!(text.contains("set archive.tls.ca"), "{text}");
    let archive = Archive::new(trusting(settings(&pacs.url())), Metrics::default()).unwrap();
    let search = UpstreamRequest::search(QidoQuery::new(SearchLevel::Studies));
    assert_eq!(
        archive.rows(search, |_: Attributes| {}).await.unwrap().row_count,
        0,
        "it works with the CA configured"
    );
}

#[tokio::test]
async fn a_certificate_for_another_host_is_reported_as_wrong_name() {
    let pacs = TlsPacs::start().await;
    let port: url::Url = pacs.url().parse().unwrap();
    let port = forward(port.port().unwrap()).await;
    let settings = trusting(settings(&format!("https://127.0.0.2:{port}/dicom-web")));
    assert_eq!(failure(&settings).await, ConnectFailure::WrongName);
}

#[tokio::test]
async fn a_plain_http_server_at_an_https_url_is_reported_as_not_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // The response of an HTTP server to a TLS handshake, which is not a valid request.
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await;
        }
    });
    let failure = failure(&settings(&format!("https://127.0.0.1:{port}/dicom-web"))).await;
    assert_eq!(failure, ConnectFailure::NotTls);
}

#[tokio::test]
async fn a_disconnect_at_an_http_url_suggests_https() {
    let pacs = TlsPacs::start().await;
    let url = pacs.url().replace("https://", "http://");
    let archive = Archive::new(settings(&url), Metrics::default()).unwrap();
    let search = UpstreamRequest::search(QidoQuery::new(SearchLevel::Studies));
    let error = archive.rows(search, |_: Attributes| {}).await.unwrap_err();
    assert!(matches!(error.kind, Kind::Disconnected), "{error}");
    assert!(error.to_string().contains("https://"), "{error}");
}

#[tokio::test]
async fn responses_contain_the_cause_without_the_host_and_check_reports_both() {
    let root = ArchiveRoot::start_with_config("http://pacs.invalid/dicom-web", "").await;
    let response = client::get(&root.url("studies")).await;
    assert_eq!(response.status, 503);
    assert!(
        response.text().contains("Archive main cannot be reached: name lookup failed."),
        "{}",
        response.text()
    );
    assert!(!response.text().contains("pacs.invalid"), "{}", response.text());
    let archive = Archive::new(settings("http://pacs.invalid/dicom-web"), Metrics::default()).unwrap();
    let archive = ArchiveToCheck { archive, has_time_zone: false, has_patient_id_system: false };
    let checks = check([archive]).await.to_string();
    assert!(
        checks.contains(
            "main     DOES NOT WORK  search for studies: cannot be reached: name lookup failed (pacs.invalid)"
        ),
        "{checks}"
    );
}

//! Causes of failed connections to an archive. Both HTTP clients report the same cause, and `check` reports it with the host name.

use dicom_model::{Attributes, StudyUid};
use dicomweb_gateway::commands::check::{ArchiveToCheck, check};
use dicomweb_gateway::telemetry::Metrics;
use dicomweb_gateway::upstream::{
    Archive, ArchiveErrorKind as Kind, ConnectFailure, DicomResource, QidoQuery, Retrieval, SearchLevel,
    Settings, UpstreamRequest,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use super::settings_for;
use crate::support::archive_root::ArchiveRoot;
use crate::support::client;
use crate::support::tls_pacs::TlsPacs;

/// Connects with both HTTP clients. Asserts that they report the same cause, and returns it.
async fn connect_failure(settings: &Settings) -> ConnectFailure {
    let new_archive = || Archive::new(settings.clone(), Metrics::default()).unwrap();
    let search = UpstreamRequest::search(QidoQuery::new(SearchLevel::Studies));
    let read_error = new_archive().rows(search, |_: Attributes| {}).await.unwrap_err();
    let study = Retrieval::whole(DicomResource::Study(StudyUid::parse("1.2").unwrap()));
    let forward_error = new_archive().send(UpstreamRequest::retrieve(study)).await.unwrap_err();
    let Kind::Unreachable(failure) = forward_error.kind else { panic!("{forward_error}") };
    assert!(
        matches!(read_error.kind, Kind::Unreachable(other) if other == failure),
        "{read_error}, but {forward_error}"
    );
    failure
}

/// Returns the settings with the CA certificate of [`TlsPacs`].
fn with_ca(mut settings: Settings) -> Settings {
    settings.ca = Some(include_bytes!("../tls/ca.pem").to_vec());
    settings
}

/// Opens a port of another loopback address, and forwards its connections to the port `target`.
async fn open_forwarding_port(target: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut server = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
                let _ = copy_bidirectional(&mut stream, &mut server).await;
            });
        }
    });
    port
}

#[tokio::test]
async fn an_unknown_host_name_is_a_failed_name_lookup() {
    let failure = connect_failure(&settings_for("http://pacs.invalid/dicom-web")).await;
    assert_eq!(failure, ConnectFailure::NameLookup);
}

#[tokio::test]
async fn a_port_without_a_listener_refuses_the_connection() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    for scheme in ["http", "https"] {
        let failure = connect_failure(&settings_for(&format!("{scheme}://127.0.0.1:{port}/dicom-web"))).await;
        assert_eq!(failure, ConnectFailure::Refused, "{scheme}");
    }
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_untrusted() {
    let pacs = TlsPacs::start().await;
    assert_eq!(connect_failure(&settings_for(&pacs.url())).await, ConnectFailure::UntrustedCertificate);
    let text = ConnectFailure::UntrustedCertificate.to_string();
    assert!(text.contains("set archive.tls.ca"), "{text}");
    let archive = Archive::new(with_ca(settings_for(&pacs.url())), Metrics::default()).unwrap();
    let search = UpstreamRequest::search(QidoQuery::new(SearchLevel::Studies));
    assert_eq!(
        archive.rows(search, |_: Attributes| {}).await.unwrap().row_count,
        0,
        "the archive cannot be used although its CA certificate is configured"
    );
}

/// `openssl req -x509` makes such certificates, which are often copied to `tls.ca`.
#[tokio::test]
async fn a_certificate_of_an_authority_that_a_server_uses_itself_is_reported_even_if_it_is_trusted() {
    let pem = include_bytes!("../tls/self_signed.pem");
    let pacs = TlsPacs::start_with_certificate(pem).await;
    let mut settings = settings_for(&pacs.url());
    settings.ca = Some(pem.to_vec());
    assert_eq!(connect_failure(&settings).await, ConnectFailure::AuthorityCertificate);
}

#[tokio::test]
async fn a_certificate_for_another_host_is_reported_as_wrong_name() {
    let pacs = TlsPacs::start().await;
    let url: url::Url = pacs.url().parse().unwrap();
    let port = open_forwarding_port(url.port().unwrap()).await;
    let settings = with_ca(settings_for(&format!("https://127.0.0.2:{port}/dicom-web")));
    assert_eq!(connect_failure(&settings).await, ConnectFailure::WrongName);
}

#[tokio::test]
async fn a_server_without_tls_at_an_https_url_is_reported_as_not_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // An HTTP server rejects the bytes of a TLS handshake as an invalid request.
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await;
        }
    });
    let failure = connect_failure(&settings_for(&format!("https://127.0.0.1:{port}/dicom-web"))).await;
    assert_eq!(failure, ConnectFailure::NotTls);
}

#[tokio::test]
async fn a_disconnect_at_an_http_url_suggests_https() {
    let pacs = TlsPacs::start().await;
    let url = pacs.url().replace("https://", "http://");
    let archive = Archive::new(settings_for(&url), Metrics::default()).unwrap();
    let search = UpstreamRequest::search(QidoQuery::new(SearchLevel::Studies));
    let error = archive.rows(search, |_: Attributes| {}).await.unwrap_err();
    assert!(matches!(error.kind, Kind::Disconnected), "{error}");
    assert!(error.to_string().contains("https://"), "{error}");
}

#[tokio::test]
async fn responses_contain_the_cause_without_the_host_name_and_check_reports_both() {
    let root = ArchiveRoot::start_with_config("http://pacs.invalid/dicom-web", "").await;
    let response = client::get(&root.url("studies")).await;
    assert_eq!(response.status, 503);
    assert!(
        response.text().contains("Archive main cannot be reached: name lookup failed."),
        "{}",
        response.text()
    );
    assert!(!response.text().contains("pacs.invalid"), "{}", response.text());
    let archive = Archive::new(settings_for("http://pacs.invalid/dicom-web"), Metrics::default()).unwrap();
    let archive = ArchiveToCheck { archive, has_time_zone: false, has_patient_id_system: false };
    let checks = check([archive]).await.to_string();
    assert!(
        checks.contains(
            "main     DOES NOT WORK  search for studies: cannot be reached: name lookup failed (pacs.invalid)"
        ),
        "{checks}"
    );
}

//! Tests the embedded archive over real HTTP, from start to stop.

use super::*;

/// Returns an address with the port 0, which selects a free port.
fn free_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Returns a client that ignores proxy settings of the machine.
fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

#[tokio::test]
async fn samples_are_served_until_the_archive_stops() {
    let running = start_archive(Content::Samples, free_port(), Progress::Silent).await.unwrap();
    let report = running.report();
    assert_eq!((report.instances, report.files), (report.files, 372));
    let url = format!("{}/studies?PatientID=P11", running.url());
    let response = client().get(&url).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/dicom+json");
    let rows: serde_json::Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 1);
    let link = rows[0]["00081190"]["Value"][0].as_str().unwrap();
    assert!(link.starts_with(&running.url()), "{link}");
    let study = client().get(link).send().await.unwrap();
    assert!(study.headers()["content-type"].to_str().unwrap().starts_with("multipart/related"));
    assert!(study.bytes().await.unwrap().len() > 20_000);
    let folder = running.scratch.as_ref().unwrap().path().to_owned();
    running.stop().await;
    assert!(!folder.exists());
    assert!(client().get(&url).send().await.is_err());
}

#[tokio::test]
async fn missing_directory_is_reported() {
    let missing_folder = PathBuf::from("/nowhere/at/all");
    let error =
        start_archive(Content::Folder(missing_folder), free_port(), Progress::Silent).await.unwrap_err();
    assert!(error.to_string().starts_with("/nowhere/at/all is not a readable directory"), "{error}");
}

#[tokio::test]
async fn port_in_use_is_reported_before_files_are_read() {
    let other_listener = TcpListener::bind(free_port()).await.unwrap();
    let error = start_archive(Content::Samples, other_listener.local_addr().unwrap(), Progress::Silent)
        .await
        .unwrap_err();
    assert!(matches!(error, StartError::Listen { .. }), "{error}");
}

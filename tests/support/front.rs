//! The DICOMweb side of the gateway in front of one archive.

use std::sync::Arc;
use std::time::Duration;

use dicomweb_gateway::access::Access;
use dicomweb_gateway::archive::{Archive, ArchiveId, Credentials, Profile, Settings};
use dicomweb_gateway::dicomweb::{self, DicomwebError, DicomwebRequest};
use dicomweb_gateway::http::body::{self, Body};
use dicomweb_gateway::server::{self, ConnectionLimits, PeerAddress};
use dicomweb_gateway::telemetry::Metrics;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::pacs::RunningPacs;

/// The public address that answers use, whatever the port.
pub const PUBLIC: &str = "https://gateway.example/imaging/dicom-web/main";

/// What is told to the gateway about the archive at `url`.
pub fn settings(url: &str) -> Settings {
    Settings {
        id: ArchiveId::parse("main").unwrap(),
        name: "Main".to_owned(),
        qido_url: url.parse().unwrap(),
        wado_url: url.parse().unwrap(),
        profile: Profile::default(),
        credentials: Credentials::None,
        timeout: Duration::from_secs(10),
        max_concurrency: 4,
        ca: None,
    }
}

/// A gateway that runs until it is dropped.
#[derive(Debug)]
pub struct Front {
    port: u16,
    task: JoinHandle<()>,
}

impl Front {
    /// In front of `pacs`.
    pub async fn of(pacs: &RunningPacs) -> Self {
        Self::with(settings(&pacs.url())).await
    }

    /// In front of the archive that `settings` tell of.
    pub async fn with(settings: Settings) -> Self {
        let archive = Arc::new(Archive::new(settings, Metrics::default()).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let service = move |request, _: PeerAddress| answer(Arc::clone(&archive), request);
        let task = tokio::spawn(async move {
            server::serve(listener, ConnectionLimits::default(), service, std::future::pending()).await;
        });
        Self { port, task }
    }

    /// The address of `target`, which is raw path and query below the archive's.
    pub fn url(&self, target: &str) -> String {
        format!("http://127.0.0.1:{}/{target}", self.port)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(archive: Arc<Archive>, request: Request<Incoming>) -> Response<Body> {
    let asked = DicomwebRequest {
        method: request.method(),
        path: request.uri().path().trim_start_matches('/'),
        query: request.uri().query(),
        headers: request.headers(),
    };
    match dicomweb::handle(&archive, &Access::everything(), PUBLIC, asked).await {
        Ok(response) => response,
        Err(error) => failure(&error),
    }
}

fn failure(error: &DicomwebError) -> Response<Body> {
    let mut response = Response::new(body::full(error.to_string()));
    *response.status_mut() = error.status();
    if let Some(seconds) = error.retry_after() {
        response.headers_mut().insert("retry-after", seconds.into());
    }
    response
}

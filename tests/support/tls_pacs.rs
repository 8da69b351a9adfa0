//! A scripted archive that uses HTTP/2 over TLS, and ends response bodies in every way that HTTP/2 allows.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http::{Response, Version};
use http_body_util::StreamBody;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Frame;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The configuration line that makes a gateway trust the CA certificate of the archive.
pub const TRUSTED_CA_CONFIG: &str =
    concat!("tls = { ca = \"", env!("CARGO_MANIFEST_DIR"), "/tests/tls/ca.pem\" }");

/// The end of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyEnd {
    /// END_STREAM after the whole body.
    Complete,
    /// The body is repeated until the client disconnects.
    Endless,
    /// END_STREAM after this number of bytes, as if the body were complete.
    Early(usize),
    /// END_STREAM after this number of bytes, although Content-Length declares more.
    ShortBody(usize),
    /// RST_STREAM after this number of bytes.
    Reset(usize),
    /// The connection is closed after this number of bytes.
    Disconnect(usize),
}

/// The response to all requests.
#[derive(Debug, Clone)]
struct ScriptedResponse {
    content_type: &'static str,
    body: Bytes,
    end: BodyEnd,
}

/// An archive that runs until this value is dropped.
#[derive(Debug)]
pub struct TlsPacs {
    scripted: Arc<Mutex<ScriptedResponse>>,
    port: u16,
    task: JoinHandle<()>,
}

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

impl TlsPacs {
    /// Starts the archive on a free port.
    pub async fn start() -> Self {
        Self::start_with_certificate(include_bytes!("../tls/server.pem")).await
    }

    /// Starts the archive with the certificate chain `pem`, whose key is `server.key`.
    pub async fn start_with_certificate(pem: &[u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let scripted = ScriptedResponse {
            content_type: "application/dicom+json",
            body: Bytes::from_static(b"[]"),
            end: BodyEnd::Complete,
        };
        let scripted = Arc::new(Mutex::new(scripted));
        let shared_response = Arc::clone(&scripted);
        let acceptor = build_acceptor(pem);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(acceptor.clone(), stream, Arc::clone(&shared_response)));
            }
        });
        Self { scripted, port, task }
    }

    /// Sets the response to all further requests.
    pub fn respond_with(&self, content_type: &'static str, body: &[u8], end: BodyEnd) {
        *self.scripted.lock().unwrap() =
            ScriptedResponse { content_type, body: Bytes::copy_from_slice(body), end };
    }

    /// Returns the root URL of the DICOMweb services.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}/dicom-web", self.port)
    }
}

impl Drop for TlsPacs {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn build_acceptor(pem: &[u8]) -> TlsAcceptor {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../tls/server.key")).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

async fn serve(acceptor: TlsAcceptor, stream: TcpStream, scripted: Arc<Mutex<ScriptedResponse>>) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let disconnect = Arc::new(Notify::new());
    let disconnect_requested = Arc::clone(&disconnect);
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        assert_eq!(request.version(), Version::HTTP_2);
        let response = build_response(&scripted.lock().unwrap(), Arc::clone(&disconnect_requested));
        async move { Ok::<_, Infallible>(response) }
    });
    let connection =
        http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        _ = connection => {}
        () = disconnect.notified() => {}
    }
}

fn build_response(scripted: &ScriptedResponse, disconnect: Arc<Notify>) -> Response<Body> {
    let length = scripted.body.len();
    let sent_length = match scripted.end {
        BodyEnd::Complete | BodyEnd::Endless => length,
        BodyEnd::Early(bytes)
        | BodyEnd::ShortBody(bytes)
        | BodyEnd::Reset(bytes)
        | BodyEnd::Disconnect(bytes) => bytes,
    };
    let beginning = Full::new(scripted.body.slice(..sent_length)).map_err(|never| match never {});
    let scripted_end = scripted.end;
    let end = stream::once(async move {
        match scripted_end {
            BodyEnd::Disconnect(_) => {
                // The bytes of the body are sent before the connection is closed.
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                disconnect.notify_one();
                std::future::pending().await
            }
            _ => Err(std::io::Error::other("the stream is reset")),
        }
    });
    let response = Response::builder().header("Content-Type", scripted.content_type);
    let response = match scripted.end {
        BodyEnd::ShortBody(_) | BodyEnd::Complete => response.header("Content-Length", length),
        BodyEnd::Endless | BodyEnd::Early(_) | BodyEnd::Reset(_) | BodyEnd::Disconnect(_) => response,
    };
    let body: Body = match scripted.end {
        BodyEnd::Complete | BodyEnd::Early(_) => beginning.boxed_unsync(),
        BodyEnd::Endless => {
            let chunk = scripted.body.clone();
            let chunks = stream::repeat_with(move || Ok(Frame::data(chunk.clone())));
            StreamBody::new(chunks).boxed_unsync()
        }
        // The body is a stream, because for a full body hyper accepts only a Content-Length that equals its length.
        BodyEnd::ShortBody(_) => {
            StreamBody::new(beginning.into_data_stream().map(|data| data.map(Frame::data))).boxed_unsync()
        }
        BodyEnd::Reset(_) | BodyEnd::Disconnect(_) => {
            StreamBody::new(beginning.into_data_stream().map(|data| data.map(Frame::data)).chain(end))
                .boxed_unsync()
        }
    };
    response.body(body).unwrap()
}

//! An archive behind TLS that speaks HTTP/2, and breaks off as it is told to.

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

/// What a gateway must be told to trust it, as lines of its configuration.
pub const TRUST: &str = concat!("tls = { ca = \"", env!("CARGO_MANIFEST_DIR"), "/tests/tls/ca.pem\" }");

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Where it should.
    Well,
    /// Never: it is said again and again.
    Never,
    /// With END_STREAM after so many bytes, as if it were whole.
    Early(usize),
    /// The same, though the head promised more.
    Short(usize),
    /// With RST_STREAM after so many bytes.
    Reset(usize),
    /// With the connection after so many bytes.
    Gone(usize),
}

/// What is answered next.
#[derive(Debug, Clone)]
struct Told {
    content_type: &'static str,
    body: Bytes,
    end: End,
}

/// An archive that runs until it is dropped.
#[derive(Debug)]
pub struct SecurePacs {
    told: Arc<Mutex<Told>>,
    port: u16,
    task: JoinHandle<()>,
}

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

impl SecurePacs {
    /// On a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let told =
            Told { content_type: "application/dicom+json", body: Bytes::from_static(b"[]"), end: End::Well };
        let told = Arc::new(Mutex::new(told));
        let answers = Arc::clone(&told);
        let acceptor = acceptor();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(acceptor.clone(), stream, Arc::clone(&answers)));
            }
        });
        Self { told, port, task }
    }

    /// From now on it answers so.
    pub fn says(&self, content_type: &'static str, body: &[u8], end: End) {
        *self.told.lock().unwrap() = Told { content_type, body: Bytes::copy_from_slice(body), end };
    }

    /// The root of its DICOMweb services.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}/dicom-web", self.port)
    }
}

impl Drop for SecurePacs {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn acceptor() -> TlsAcceptor {
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(include_bytes!("../tls/server.pem")).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../tls/server.key")).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

async fn serve(acceptor: TlsAcceptor, stream: TcpStream, told: Arc<Mutex<Told>>) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let gone = Arc::new(Notify::new());
    let leaving = Arc::clone(&gone);
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        assert_eq!(request.version(), Version::HTTP_2);
        let response = answer(&told.lock().unwrap(), Arc::clone(&leaving));
        async move { Ok::<_, Infallible>(response) }
    });
    let connection =
        http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        _ = connection => {}
        () = gone.notified() => {}
    }
}

fn answer(told: &Told, gone: Arc<Notify>) -> Response<Body> {
    let length = told.body.len();
    let bytes = match told.end {
        End::Well | End::Never => length,
        End::Early(bytes) | End::Short(bytes) | End::Reset(bytes) | End::Gone(bytes) => bytes,
    };
    let begun = Full::new(told.body.slice(..bytes)).map_err(|never| match never {});
    let how = told.end;
    let end = stream::once(async move {
        match how {
            End::Gone(_) => {
                // What was written before goes out first.
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                gone.notify_one();
                std::future::pending().await
            }
            _ => Err(std::io::Error::other("told to break off")),
        }
    });
    let response = Response::builder().header("Content-Type", told.content_type);
    let response = match told.end {
        End::Short(_) | End::Well => response.header("Content-Length", length),
        _ => response,
    };
    let body: Body = match told.end {
        End::Well | End::Early(_) => begun.boxed_unsync(),
        End::Never => {
            let again = told.body.clone();
            let pieces = stream::repeat_with(move || Ok(Frame::data(again.clone())));
            StreamBody::new(pieces).boxed_unsync()
        }
        // Its own length would be told otherwise, and found false here.
        End::Short(_) => {
            StreamBody::new(begun.into_data_stream().map(|data| data.map(Frame::data))).boxed_unsync()
        }
        _ => StreamBody::new(begun.into_data_stream().map(|data| data.map(Frame::data)).chain(end))
            .boxed_unsync(),
    };
    response.body(body).unwrap()
}

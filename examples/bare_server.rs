//! A minimal hyper server that responds to every request with the content of one file. `scripts/bench` compares the gateway with it.
//!
//! Usage: `bare_server FILE ADDRESS CONTENT_TYPE`

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next_argument = |name: &str| arguments.next().ok_or_else(|| anyhow::anyhow!("{name} is missing"));
    let (file, address, content_type) =
        (next_argument("FILE")?, next_argument("ADDRESS")?, next_argument("CONTENT_TYPE")?);
    let body = Bytes::from(tokio::fs::read(file).await?);
    let content_type = HeaderValue::from_str(&content_type)?;
    let listener = tokio::net::TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (body, content_type) = (body.clone(), content_type.clone());
        let service = service_fn(move |_| {
            let mut response = Response::new(Full::new(body.clone()));
            response.headers_mut().insert(header::CONTENT_TYPE, content_type.clone());
            async move { Ok::<_, Infallible>(response) }
        });
        tokio::spawn(
            http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service),
        );
    }
}

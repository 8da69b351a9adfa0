//! `demo`: runs the embedded archive on a free port of the loopback interface, and a gateway in front of it. The gateway has a
//! configuration like any other gateway, and calls the archive over HTTP.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use dicomweb_archive::archive::Progress;
use dicomweb_archive::{Content, ExampleUrls, start_archive};

use super::serve::BoundGateway;
use super::{archive, local_url, print, start_telemetry, warn_about_open_access};
use crate::config::Config;
use crate::telemetry::LogFormat;

pub(super) async fn run(dir: Option<PathBuf>, listen: SocketAddr) -> anyhow::Result<ExitCode> {
    let _log = start_telemetry(LogFormat::Text)?;
    let content = dir.map_or(Content::Samples, Content::Folder);
    let free_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let archive = start_archive(content, free_port, Progress::Bar).await?;
    archive::warn_if_empty(archive.report());
    // `--listen` is the decision that other machines may reach the demo.
    let text = format!(
        "[server]\nlisten = \"{listen}\"\nadmin_listen = \"{free_port}\"\n[auth]\nmode = \"open\"\nallow_remote = true\n\
         [fhir]\nkeys = \"{}\"\n[[archive]]\nid = \"demo\"\nname = \"Embedded archive\"\nurl = \"{}\"\n",
        random_secret()?,
        archive.url()
    );
    let config = Config::parse(&text, Path::new("demo"), [])?;
    let running = BoundGateway::start(&config, "choose another address with --listen ADDRESS").await?;
    if !listen.ip().to_canonical().is_loopback() {
        warn_about_open_access();
    }
    let (gateway, admin) = (local_url(running.address()?), local_url(running.admin_address()?));
    let example_urls = ExampleUrls { gateway: &gateway, archive: "demo", index: archive.index() };
    print(format_args!(
        "{}\n\nThe gateway is ready. Try:\n\n{example_urls}  Readiness and metrics of the gateway, on the admin listener\n    {admin}/readyz\n    \
         {admin}/metrics\n\nStop it with Ctrl-C.",
        archive.report()
    ))?;
    running.serve_until_stopped(&config).await;
    archive.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// Returns a secret for the Patient ids and links of this run.
fn random_secret() -> anyhow::Result<String> {
    let mut bytes = [0_u8; 32];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| anyhow::anyhow!("the operating system returns no random numbers"))?;
    Ok(URL_SAFE.encode(bytes))
}

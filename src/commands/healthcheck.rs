//! `healthcheck`: exits with 0 if the admin listener of the gateway reports that the gateway is ready. With this
//! command, a container image needs neither a shell nor curl.

use std::process::ExitCode;

use anyhow::Context;
use http_server::check_readiness;
use url::Url;

use super::ConfigFile;

/// The advice if the configuration cannot be read.
const CONFIG_REMEDY: &str = "the address of the admin listener is not known; name it with --url, such as --url http://127.0.0.1:9090, or correct \
     the configuration";

pub(super) async fn run(config: &ConfigFile, url: Option<Url>) -> anyhow::Result<ExitCode> {
    let admin = match url {
        Some(url) => {
            let addresses =
                url.socket_addrs(|| None).with_context(|| format!("the host of {url} is not known"))?;
            *addresses.first().with_context(|| format!("the host of {url} has no address"))?
        }
        None => config.load().context(CONFIG_REMEDY)?.server.admin_listen,
    };
    check_readiness(admin).await?;
    Ok(ExitCode::SUCCESS)
}

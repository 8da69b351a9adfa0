//! Tests of the upstream client, which calls one archive.

mod check;
mod check_images;
mod connections;
mod probes;
mod rows;
mod unreachable;

use std::time::Duration;

use dicomweb_gateway::upstream::{ArchiveId, Credentials, Profile, Settings};

/// Returns the settings of the archive at `url`.
fn settings_for(url: &str) -> Settings {
    Settings {
        id: ArchiveId::parse("main").unwrap(),
        name: "Main".to_owned(),
        qido_url: url.parse().unwrap(),
        wado_url: url.parse().unwrap(),
        wado_uri_url: None,
        rest_url: None,
        profile: Profile::default(),
        uid_rule: dicom_model::UidRule::Strict,
        credentials: Credentials::None,
        timeout: Duration::from_mins(5),
        min_rate: 1,
        max_concurrency: 4,
        max_queue: 64,
        queue_timeout: Duration::from_secs(10),
        stream_buffer: 256 * 1024,
        allow_link_local: false,
        ca: None,
    }
}

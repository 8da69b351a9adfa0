//! Writes the sample studies to a folder: `cargo run --example write_samples -- DIR`.

use std::path::PathBuf;

use dicomweb_archive::samples;

fn main() -> anyhow::Result<()> {
    let folder: PathBuf = std::env::args_os()
        .nth(1)
        .map(PathBuf::from)
        .ok_or_else(|| anyhow::anyhow!("the folder is missing"))?;
    samples::write(&folder)?;
    Ok(())
}

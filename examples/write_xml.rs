//! Reads a resource in JSON from a file, and prints it as XML: `cargo run --example write_xml -- FILE`.

use std::io::Write;

use fhir_r4::xml;

fn main() -> anyhow::Result<()> {
    let file = std::env::args_os().nth(1).ok_or_else(|| anyhow::anyhow!("the file is missing"))?;
    let document = xml::from_json(&std::fs::read_to_string(file)?, false)?;
    std::io::stdout().write_all(document.as_bytes())?;
    Ok(())
}

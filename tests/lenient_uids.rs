//! UIDs that are not DICOM UIDs (PS3.5 9.1), such as the hashes of an anonymization, in archives with and without `lenient_uids`: what
//! FHIR returns, what DICOMweb serves, and whether both agree.

mod agreement;
mod dicomweb;
mod fhir;

use crate::support::gateway::RunningGateway;
use crate::support::pacs::{Pacs, RunningPacs, Study};

/// The line that sets the key for the first archive.
const LENIENT: &str = "lenient_uids = true\n";

/// A study, a series and an instance whose UIDs are hashes.
const STUDY: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
const SERIES: &str = "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c7";
const INSTANCE: &str = "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c7.1";

/// Returns the study with hashes as UIDs, of a patient who has no other study.
fn hashed_study() -> Study {
    Study::new(STUDY).patient("P9", "Roe^Jane").accession_number("A9").series(SERIES, "CT", 2)
}

/// Starts an archive with a study of DICOM UIDs and one of hashes.
async fn start_pacs() -> RunningPacs {
    Pacs::new()
        .with_study(Study::new("1.2.1").series("1.2.1.1", "CT", 1))
        .with_study(hashed_study())
        .start()
        .await
}

/// Starts a gateway in front of two archives, with the key for the first one only.
async fn start_with_lenient_and_strict(lenient: &RunningPacs, strict: &RunningPacs) -> RunningGateway {
    let second = format!("{LENIENT}[[archive]]\nid = \"strict\"\nurl = \"{}\"\n", strict.url());
    RunningGateway::start(&lenient.url(), &second).await
}

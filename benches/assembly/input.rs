//! The rows of the instances of a large study, and the assembly of an ImagingStudy from them.

use dicom_model::json::reader::RowReader;
use dicom_model::{Attributes, SeriesUid};
use std::sync::Arc;

use dicomweb_gateway::mapping::{MappedInstance, MappingContext, PatientIds, SeriesRecord, imaging_study};
use fhir_r4::types::{ElementSubset, project};

pub const SERIES_COUNT: usize = 20;
pub const INSTANCES_PER_SERIES: usize = 250;

/// The size of the chunks in which bodies are read, in bytes.
const CHUNK_SIZE: usize = 64 * 1024;

const STUDY_UID: &str = "1.2.826.0.1.3680043.8.498.45787841905188114249328280692378";

/// Creates the responses to instance-level searches, one per series, with 22 attributes per instance (about 1.4 kB).
pub fn responses() -> Vec<Vec<u8>> {
    (0..SERIES_COUNT)
        .map(|series| {
            let rows: Vec<_> = (0..INSTANCES_PER_SERIES).map(|instance| row(series, instance)).collect();
            format!("[{}]", rows.join(",")).into_bytes()
        })
        .collect()
}

/// Creates the row of an instance.
fn row(series: usize, instance: usize) -> String {
    let study_uid = STUDY_UID;
    let series_uid = series_uid(series);
    let number = instance + 1;
    let element = |tag: &str, vr: &str, value: &str| format!(r#""{tag}":{{"vr":"{vr}","Value":[{value}]}}"#);
    let text = |tag: &str, vr: &str, value: &str| element(tag, vr, &format!(r#""{value}""#));
    let url = format!(
        "http://127.0.0.1:8042/dicom-web/studies/{study_uid}/series/{series_uid}/instances/{series_uid}.{number}"
    );
    let members = [
        text("00080005", "CS", "ISO_IR 192"),
        r#""00080008":{"vr":"CS","Value":["ORIGINAL","PRIMARY","AXIAL"]}"#.to_owned(),
        text("00080016", "UI", "1.2.840.10008.5.1.4.1.1.2"),
        text("00080018", "UI", &format!("{series_uid}.{number}")),
        text("00080020", "DA", "20240131"),
        text("00080030", "TM", "101530.250000"),
        text("00080050", "SH", "A0000012345"),
        text("00080056", "CS", "ONLINE"),
        text("00080060", "CS", "CT"),
        element("00080090", "PN", r#"{"Alphabetic":"Referrer^Ruth^^Dr."}"#),
        text("00080201", "SH", "+0100"),
        text("0008103E", "LO", r"Thorax nativ, Lungenger\u00fcst 1.0 mm"),
        text("00081190", "UR", &url),
        element("00100010", "PN", r#"{"Alphabetic":"Mustermann^Erika"}"#),
        text("00100020", "LO", "MRN-0012345"),
        text("00100030", "DA", "19640812"),
        text("00100040", "CS", "F"),
        text("0020000D", "UI", study_uid),
        text("0020000E", "UI", &series_uid),
        text("00200010", "SH", "4711"),
        element("00200013", "IS", &number.to_string()),
        element("00280010", "US", "512"),
    ];
    format!("{{{}}}", members.join(","))
}

fn series_uid(series: usize) -> String {
    format!("1.2.826.0.1.3680043.8.498.{}", 10_000_000 + series)
}

/// The attributes of the study and of its series, which are fetched before the instances.
pub struct StudyAttributes {
    context: MappingContext,
    study: Attributes,
    series: Vec<(SeriesUid, Attributes)>,
}

/// Creates the attributes of the study and of its series.
pub fn study_attributes() -> StudyAttributes {
    let parse = |json: String| serde_json::from_str(&json).expect("the attributes are not DICOM JSON");
    StudyAttributes {
        context: MappingContext::new(
            "main",
            Arc::new(PatientIds::derive([&b"secret"[..]]).expect("there is a secret")),
        ),
        study: parse(format!(
            r#"{{"0020000D":{{"Value":["{STUDY_UID}"]}},"00100020":{{"Value":["MRN-0012345"]}},"00080061":{{"Value":["CT"]}}}}"#
        )),
        series: (0..SERIES_COUNT)
            .map(|series| {
                let uid = SeriesUid::parse(&series_uid(series)).expect("the UID consists of digits and dots");
                (uid, parse(r#"{"00080060":{"Value":["CT"]},"00180015":{"Value":["CHEST"]}}"#.to_owned()))
            })
            .collect(),
    }
}

/// Assembles the ImagingStudy from the responses of the archive, and returns it as JSON.
pub fn assemble(responses: &[Vec<u8>], study_attributes: &StudyAttributes) -> Vec<u8> {
    let series = responses
        .iter()
        .zip(&study_attributes.series)
        .map(|(response, (uid, attributes))| SeriesRecord {
            uid: uid.clone(),
            attributes: attributes.clone(),
            instances: Some(read_instances(response)),
        })
        .collect();
    let study = imaging_study(&study_attributes.context, &study_attributes.study, &["main"], Some(series));
    project(&study, ElementSubset::Full).expect("every resource can be serialized")
}

/// Reads the rows of a response.
fn read_instances(response: &[u8]) -> Vec<MappedInstance> {
    let mut instances = Vec::new();
    let mut reader = RowReader::<MappedInstance>::new();
    for chunk in response.chunks(CHUNK_SIZE) {
        reader.push(chunk, &mut |row| instances.push(row)).expect("the response is not a list of rows");
    }
    reader.finish(&mut |row| instances.push(row)).expect("the response is incomplete");
    instances
}

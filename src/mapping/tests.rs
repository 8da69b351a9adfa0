//! Tests of the mapping rules, one file per subject.

#![expect(clippy::needless_pass_by_value, reason = "json! creates values that no caller uses again")]

mod anything;
mod coding;
mod dates;
mod documentation;
mod identifiers;
mod instances;
mod patients;
mod procedures;
mod profiles;
mod series;
mod specimens;
mod studies;

use serde_json::{Value, json};

use super::*;
use dicom_model::{Attributes, SeriesUid};

/// Reads attributes by keyword. The tolerant reader accepts values without an array.
fn row(members: Value) -> Attributes {
    serde_json::from_value(members).unwrap()
}

/// Reads the attributes of a study with a UID and `members`.
fn study_row(members: Value) -> Attributes {
    let mut study = json!({"StudyInstanceUID": "1.2.3", "PatientID": "P1", "ModalitiesInStudy": ["CT"]});
    study.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    row(study)
}

fn patient_ids() -> Arc<PatientIds> {
    Arc::new(PatientIds::derive([&b"secret"[..]]).unwrap())
}

fn context() -> MappingContext {
    MappingContext {
        issuers: [("HOSP".to_owned(), "urn:oid:1.2.840.1".to_owned())].into(),
        guides: [Guide::SmartImagingAccess].into(),
        ..MappingContext::new("main", patient_ids())
    }
}

fn context_in_zone(name: &str) -> MappingContext {
    MappingContext { time_zone: Some(TimeZone::get(name).unwrap()), ..context() }
}

fn series_source(members: Value, instances: Option<Value>) -> SeriesRecord {
    SeriesRecord {
        uid: SeriesUid::parse("1.2.3.4").unwrap(),
        attributes: row(members),
        instances: instances.map(|instances| serde_json::from_value(instances).unwrap()),
    }
}

/// Returns the ImagingStudy as JSON.
fn study_with(context: &MappingContext, row: &Attributes, series: Option<Vec<SeriesRecord>>) -> Value {
    serde_json::to_value(imaging_study(context, row, &["main"], series)).unwrap()
}

fn study(members: Value) -> Value {
    study_with(&context(), &study_row(members), None)
}

/// Maps the only series of a study.
fn one_series(members: Value, instances: Option<Value>) -> Value {
    let source = series_source(members, instances);
    study_with(&context(), &study_row(json!({})), Some(vec![source]))["series"][0].take()
}

fn patient_of(context: &MappingContext, members: Value) -> Value {
    serde_json::to_value(patient(context, &row(members))).unwrap()
}

//! Tests that the sample files follow their declaration and are reproducible.

use super::*;
use dicom_dictionary_std::tags;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use walkdir::WalkDir;

fn digest(folder: &Path) -> String {
    let mut hash = Sha256::new();
    for entry in WalkDir::new(folder).sort_by_file_name() {
        let entry = entry.unwrap();
        if entry.file_type().is_file() {
            let name = entry.path().strip_prefix(folder).unwrap();
            hash.update(name.to_str().unwrap().replace('\\', "/"));
            hash.update(fs::read(entry.path()).unwrap());
        }
    }
    hash.finalize().iter().fold(String::new(), |mut digits, byte| {
        write!(digits, "{byte:02x}").unwrap();
        digits
    })
}

#[test]
fn every_run_writes_the_same_bytes() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let report = write(one.path()).unwrap();
    assert_eq!(write(other.path()).unwrap(), report);
    let digest = digest(one.path());
    assert_eq!(digest, self::digest(other.path()));
    // The bytes are the same on every machine and with every version of the libraries that write them.
    insta::assert_snapshot!(digest);
}

#[test]
fn samples_have_enough_patients_studies_and_modalities() {
    assert!(patients().len() >= 12);
    assert!(patients().iter().map(|patient| patient.studies.len()).sum::<usize>() >= 30);
    let modalities: BTreeSet<&str> =
        first_locations().map(|location| location.series.kind.modality()).collect();
    assert_eq!(
        modalities,
        BTreeSet::from(["CR", "CT", "DX", "KO", "MG", "MR", "PR", "PT", "SEG", "SR", "US", "XA"])
    );
    assert!(
        first_locations().any(|location| location
            .study
            .series
            .iter()
            .map(|series| series.instances)
            .sum::<u16>()
            > 200)
    );
}

#[test]
fn numbers_are_written_as_decimal_text() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path()).unwrap();
    let file = folder.path().join("patient-01/study-1/series-1/0012.dcm");
    let object = dicom_object::open_file(file).unwrap();
    let text = |tag| object.element(tag).unwrap().to_str().unwrap().into_owned();
    assert_eq!(text(tags::INSTANCE_NUMBER), "12");
    assert_eq!(text(tags::IMAGE_POSITION_PATIENT), "-120\\-120\\55");
    assert_eq!(text(tags::PATIENT_NAME), "Demo^Anna^Maria^Dr.^MSc");
}

#[test]
fn every_uid_is_valid_and_unique() {
    let mut uids = BTreeSet::new();
    for location in first_locations().flat_map(|location| location.instances().collect::<Vec<_>>()) {
        let uid = location.instance_uid();
        assert!(dicom_model::SopInstanceUid::parse(&uid).is_ok(), "{uid}");
        assert!(uids.insert(uid));
    }
}

#[test]
fn declaration_is_shown_as_a_table() {
    let mut table = String::new();
    for (position, patient) in patients().iter().enumerate() {
        let (id, name) = (display(patient.id), display(patient.name));
        writeln!(table, "{id} | {name} | {}", patient.character_sets.join("\\")).unwrap();
        for (number, study) in patient.studies.iter().enumerate() {
            let series =
                study.series.iter().map(|series| format!("{}×{}", series.kind.modality(), series.instances));
            let number = format!("{}.{}", position + 1, number + 1);
            let facts = [study.date, study.time, study.zone, study.accession, study.description].map(display);
            writeln!(
                table,
                "    {number} | {} | {}",
                facts.join(" | "),
                series.collect::<Vec<_>>().join(" ")
            )
            .unwrap();
        }
    }
    insta::assert_snapshot!(table);
}

fn display(value: AttributeValue) -> &'static str {
    match value {
        AttributeValue::Absent => "(absent)",
        AttributeValue::Empty => "(empty)",
        AttributeValue::Present(value) => value,
    }
}

//! Tests indexing of directories with files of all kinds.

use super::*;
use std::fs;

fn sample(name: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    samples::write_selected(folder.path(), |patient| patient.id == AttributeValue::Present("P11")).unwrap();
    fs::read(folder.path().join("patient-12/study-1/series-1").join(name)).unwrap()
}

#[test]
fn every_file_is_counted_and_none_stops_indexing() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir_all(path("a/deep/folder")).unwrap();
    let file = sample("0001.dcm");
    fs::write(path("a/deep/folder/one"), &file).unwrap();
    fs::write(path("a/duplicate.dcm"), &file).unwrap();
    fs::write(path("two.dcm"), sample("0002.dcm")).unwrap();
    fs::write(path("readme.txt"), "not an image").unwrap();
    fs::write(path("empty"), "").unwrap();
    fs::write(path("truncated.dcm"), &file[..file.len() - 100]).unwrap();
    let uid = samples::study_uid(11, 0);
    let position = memchr::memmem::find(&file, uid.as_bytes()).unwrap();
    // The first occurrence is in the file meta information; the Study Instance UID follows the tag (0020,000D).
    let study_uid_position = memchr::memmem::find(&file, &[0x20, 0x00, 0x0D, 0x00]).unwrap() + 8;
    let mut missing_uid = file.clone();
    missing_uid[study_uid_position] = b'x';
    assert!(study_uid_position > position);
    fs::write(path("missing_uid.dcm"), missing_uid).unwrap();
    let (index, report) = Index::build(folder.path(), Progress::Silent);
    assert_eq!(
        report,
        IndexReport {
            files: 7,
            instances: 2,
            not_dicom: 2,
            dicomdir: 0,
            malformed: 1,
            unidentified: 1,
            repeated: 1,
            unreadable: 0
        }
    );
    assert_eq!(
        report.to_string(),
        "2 of 7 files are served; skipped: 2 not DICOM, 1 invalid or unsupported, 1 without valid UIDs, 1 duplicate"
    );
    assert_eq!(index.studies().len(), 1);
}

#[test]
fn study_uid_with_two_patients_is_two_studies() {
    let folder = tempfile::tempdir().unwrap();
    let file = sample("0001.dcm");
    fs::write(folder.path().join("one"), &file).unwrap();
    // Another instance of the same study with another Patient ID.
    let mut second = sample("0002.dcm");
    let id = memchr::memmem::find(&second, b"P11 ").unwrap();
    second[id..id + 4].copy_from_slice(b"Q11 ");
    fs::write(folder.path().join("two"), second).unwrap();
    let (index, _) = Index::build(folder.path(), Progress::Silent);
    assert_eq!(index.studies().len(), 2);
    let uid = dicom_model::StudyUid::parse(&samples::study_uid(11, 0)).unwrap();
    assert_eq!(index.positions(&uid).len(), 2);
}

#[test]
fn empty_directory_is_an_empty_archive() {
    let folder = tempfile::tempdir().unwrap();
    let (index, report) = Index::build(folder.path(), Progress::Silent);
    assert_eq!(report, IndexReport::default());
    assert!(index.studies().is_empty());
}

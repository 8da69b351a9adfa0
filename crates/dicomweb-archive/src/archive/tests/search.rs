//! Tests QIDO-RS with the sample studies.

use super::*;

const STUDY: &str = "0020000D";

#[tokio::test]
async fn study_row_has_the_attributes_of_the_standard() {
    let archive = ServedArchive::with_patients(&["DEMO-0001"]);
    let rows = archive.rows("/studies?StudyDate=20230511").await;
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    let uid = samples::study_uid(0, 0);
    assert_eq!(row[STUDY]["Value"][0], uid.as_str());
    assert_eq!(row["00080061"]["Value"], serde_json::json!(["CT", "KO", "PR", "SEG", "SR"]));
    assert_eq!(row["00201206"]["Value"][0], 5);
    assert_eq!(row["00201208"]["Value"][0], 16);
    assert_eq!(row["00080056"]["Value"][0], "ONLINE");
    assert_eq!(row["00081190"]["Value"][0], format!("http://pacs.test:81/dicom-web/studies/{uid}"));
    assert!(row.get("00081030").is_none(), "StudyDescription is returned only on request");
}

#[tokio::test]
async fn includefield_returns_attributes_of_the_index_and_of_files() {
    let archive = ServedArchive::with_patients(&["DEMO-0001"]);
    let path = "/studies?StudyDate=20230511&includefield=StudyDescription,00081032&includefield=00080070,SpatialResolution";
    let row = &archive.rows(path).await[0];
    assert_eq!(row["00081030"]["Value"][0], "CT Thorax with report");
    assert_eq!(row["00081032"]["Value"][0]["00080100"]["Value"][0], "169069000");
    assert!(row.get("00080070").is_none(), "the manufacturer belongs to the series");
    let study = samples::study_uid(0, 0);
    let series =
        archive.rows(&format!("/studies/{study}/series?Modality=CT&includefield=BodyPartExamined,KVP")).await;
    assert_eq!(series[0]["00180015"]["Value"][0], "CHEST");
    assert_eq!(series[0]["00180060"]["Value"][0], 120.0, "read from the file");
    assert!(series[0].get("00100010").is_none(), "attributes of the study are omitted below a study");
    let rows = archive.rows(&format!("/studies/{study}/instances?limit=1&includefield=all")).await;
    assert_eq!(rows[0]["00281052"]["Value"][0], -1024.0);
    assert!(rows[0].get("7FE00010").is_none());
}

#[tokio::test]
async fn names_are_decoded_from_every_character_set() {
    let archive = ServedArchive::with_most_patients();
    let mut names: Vec<String> = Vec::new();
    for row in archive.rows("/studies?includefield=StudyDescription").await {
        names.push(row["00100010"]["Value"][0].to_string());
    }
    for name in [
        r#"{"Alphabetic":"Kaku^Hanako","Ideographic":"架空^花子","Phonetic":"かくう^はなこ"}"#,
        r#"{"Alphabetic":"ｶｸｳ^ｼﾞﾛｳ","Ideographic":"架空^次郎","Phonetic":"かくう^じろう"}"#,
        r#"{"Alphabetic":"Gasang^Minjun","Ideographic":"假想^民俊","Phonetic":"가상^민준"}"#,
        r#"{"Alphabetic":"Вымышленный^Иван^Примерович"}"#,
        r#"{"Alphabetic":"Φανταστική^Ελένη"}"#,
        r#"{"Alphabetic":"Muster-Müßig^Jürgen^François^Prof.^Jr."}"#,
        r#"{"Alphabetic":"Smyšlená^Šárka","Ideographic":"想像^莎卡"}"#,
    ] {
        let name: Json = serde_json::from_str(name).unwrap();
        assert!(names.contains(&name.to_string()), "{name}");
    }
    assert_eq!(archive.rows("/studies?PatientName=%E6%9E%B6%E7%A9%BA%5E*").await.len(), 4);
    assert_eq!(archive.rows("/studies?PatientName=%CE%A6*").await.len(), 2);
}

#[tokio::test]
async fn wildcards_match_identifiers_with_and_without_wildcard_characters() {
    let archive = ServedArchive::with_patients(&["P*1", "P11", "p11"]);
    let mut found = archive.column("/studies?PatientID=P*1", "00100020").await;
    found.sort();
    assert_eq!(found, ["P*1", "P*1", "P11"]);
    assert_eq!(archive.column("/studies?PatientID=P11", "00100020").await, ["P11"]);
    assert_eq!(archive.rows("/studies?AccessionNumber=ACC?7").await.len(), 3);
}

#[tokio::test]
async fn same_id_from_two_issuers_is_two_patients() {
    let archive = ServedArchive::with_patients(&["4711"]);
    assert_eq!(archive.rows("/studies?PatientID=4711").await.len(), 3);
    assert_eq!(archive.rows("/studies?PatientID=4711&IssuerOfPatientID=SOUTH").await.len(), 1);
    let oid = "IssuerOfPatientIDQualifiersSequence.UniversalEntityID=2.999.1.1";
    assert_eq!(archive.rows(&format!("/studies?{oid}")).await.len(), 2);
}

#[tokio::test]
async fn keys_of_lower_levels_match_if_any_series_or_instance_matches() {
    let archive = ServedArchive::with_patients(&["DEMO-0001"]);
    let first = samples::study_uid(0, 0);
    assert_eq!(archive.column("/studies?Modality=SEG", STUDY).await, [first.as_str()]);
    assert_eq!(archive.column("/studies?ModalitiesInStudy=SEG,XA", STUDY).await, [first.as_str()]);
    assert_eq!(
        archive.column("/studies?SOPClassUID=1.2.840.10008.5.1.4.1.1.66.4", STUDY).await,
        [first.as_str()]
    );
    assert_eq!(archive.column("/studies?NumberOfStudyRelatedSeries=5", STUDY).await, [first.as_str()]);
    let path = "/studies?ReferencedRequestSequence.AccessionNumber=A10003";
    assert_eq!(archive.column(path, STUDY).await, [first.as_str()]);
    assert!(archive.rows("/studies?ReferencedRequestSequence.AccessionNumber=A1").await.is_empty());
}

#[tokio::test]
async fn lists_of_uids_find_each_uid() {
    let archive = ServedArchive::with_patients(&["DEMO-0001", "P11"]);
    let (first, second) = (samples::study_uid(0, 1), samples::study_uid(11, 0));
    for separator in [",", "%5C", "&StudyInstanceUID="] {
        let path = format!("/studies?StudyInstanceUID={first}{separator}{second}");
        assert_eq!(archive.column(&path, STUDY).await, [first.as_str(), second.as_str()], "{separator}");
    }
}

#[tokio::test]
async fn dates_match_by_range_in_every_format() {
    let archive = ServedArchive::with_most_patients();
    assert_eq!(archive.column("/studies?StudyDate=-19991231", "00080020").await, ["1994.01.30"]);
    assert_eq!(archive.rows("/studies?StudyDate=20230511-20230612").await.len(), 2);
    assert_eq!(archive.rows("/studies?StudyDate=20240101-").await.len(), 1);
    let everything = archive.rows("/studies").await.len();
    assert_eq!(archive.rows("/studies?StudyDate=").await.len(), everything, "an empty key matches all");
    assert_eq!(archive.rows("/studies?StudyDate=19000101-29991231").await.len(), everything - 2);
}

#[tokio::test]
async fn pages_are_complete_and_report_remaining_results() {
    let archive = ServedArchive::with_patients(&["DEMO-0001"]);
    let uids = archive.column("/instances", "00080018").await;
    let mut paged = Vec::new();
    for offset in (0..uids.len()).step_by(10) {
        let path = format!("/instances?limit=10&offset={offset}");
        let response = archive.get(&path).await;
        let remaining = uids.len().saturating_sub(offset + 10);
        let warning = response.header("warning");
        if remaining > 0 {
            assert!(warning.starts_with("299 http://pacs.test:81/dicom-web: "), "{warning}");
            assert!(warning.contains(&format!("There are {remaining} additional results")), "{warning}");
        } else {
            assert_eq!(warning, "");
        }
        paged.extend(archive.column(&path, "00080018").await);
    }
    assert_eq!(paged, uids);
    assert!(archive.rows("/studies?limit=0").await.is_empty());
    assert!(archive.rows("/studies?offset=1000").await.is_empty());
}

#[tokio::test]
async fn fuzzy_matching_is_ignored_with_a_warning() {
    let archive = ServedArchive::with_patients(&["P11"]);
    let response = archive.get("/studies?fuzzymatching=true&PatientName=Lookalike*").await;
    assert!(response.header("warning").contains("fuzzymatching"), "{}", response.header("warning"));
    assert_eq!(archive.get("/studies?fuzzymatching=false").await.header("warning"), "");
}

#[tokio::test]
async fn every_level_is_searched_within_its_path() {
    let archive = ServedArchive::with_patients(&["DEMO-0001"]);
    let study = samples::study_uid(0, 0);
    assert_eq!(archive.rows("/series").await.len(), 8);
    assert_eq!(archive.rows("/series?Modality=MR").await.len(), 2);
    assert_eq!(archive.rows(&format!("/studies/{study}/series")).await.len(), 5);
    assert_eq!(archive.rows(&format!("/studies/{study}/instances")).await.len(), 16);
    assert_eq!(archive.rows(&format!("/studies/{study}/series/{study}.1/instances")).await.len(), 12);
    assert!(archive.rows(&format!("/studies/{study}/series/1.2/instances")).await.is_empty());
    assert!(archive.rows("/studies/1.2/series").await.is_empty());
    let instance = &archive.rows("/instances?InstanceNumber=12").await[0];
    assert_eq!(
        instance["00100020"]["Value"][0], "DEMO-0001",
        "attributes of the study are included in searches across studies"
    );
    assert_eq!(instance["00080060"]["Value"][0], "CT");
    assert_eq!(instance["00083002"]["Value"][0], "1.2.840.10008.1.2.1");
}

#[tokio::test]
async fn missing_attributes_are_omitted_and_empty_ones_have_no_value() {
    let archive = ServedArchive::with_most_patients();
    let rows = archive.rows("/studies?PatientID=&StudyDescription=").await;
    let rows_without_id: Vec<&Json> =
        rows.iter().filter(|row| row["00100020"].get("Value").is_none()).collect();
    assert_eq!(rows_without_id.len(), 2);
    assert!(rows_without_id.iter().all(|row| row["00100020"]["vr"] == "LO" && row.get("00100030").is_none()));
    assert_eq!(rows_without_id[0]["00080020"], serde_json::json!({"vr": "DA"}));
    assert!(rows_without_id[1].get("00080020").is_none());
}

#[tokio::test]
async fn empty_result_is_an_empty_list_and_xml_is_not_acceptable() {
    let archive = ServedArchive::with_patients(&["P11"]);
    let response = archive.get("/studies?PatientID=nobody").await;
    assert_eq!((response.status, &response.body[..]), (StatusCode::OK, &b"[]"[..]));
    let response = archive.get_with_accept("/studies", "application/dicom+xml").await;
    assert_eq!(response.status, StatusCode::NOT_ACCEPTABLE);
    let response = archive.get_with_accept("/studies", "application/json").await;
    assert_eq!(response.header("content-type"), "application/json");
    let response = archive.get("/studies?Nonsense=1").await;
    assert_eq!(response.status, StatusCode::BAD_REQUEST);
}

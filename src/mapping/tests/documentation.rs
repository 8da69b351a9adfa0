//! Compares `docs/mapping.md` with the code: every element of R4 has a row, and the page lists every attribute that the mapping
//! reads at the level at which it is requested.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::*;
use dicom_model::{Tag, tag, tags};

const PAGE: &str = include_str!("../../../docs/mapping.md");

/// Resources with every element of R4; another test compares the types with these files.
const ELEMENTS: [(&str, &str); 3] = [
    ("ImagingStudy", include_str!("../../../tests/hl7/every-element/ImagingStudy.json")),
    ("Patient", include_str!("../../../tests/hl7/every-element/Patient.json")),
    ("Endpoint", include_str!("../../../tests/hl7/every-element/Endpoint.json")),
];

/// Elements that every resource or element has, which the tables omit.
const UNIVERSAL_ELEMENTS: [&str; 9] = [
    "resourceType",
    "id",
    "meta",
    "implicitRules",
    "language",
    "text",
    "contained",
    "extension",
    "modifierExtension",
];

/// Attributes that a search returns by default (PS3.18 tables 10.6.3-3 to 10.6.3-5), or that are only in metadata.
const RETURNED_BY_DEFAULT: [(&str, &[Tag]); 3] = [
    (
        "study",
        &[
            tags::STUDY_INSTANCE_UID,
            tags::STUDY_DATE,
            tags::STUDY_TIME,
            tags::STUDY_ID,
            tags::ACCESSION_NUMBER,
            tags::REFERRING_PHYSICIAN_NAME,
            tags::REQUEST_ATTRIBUTES_SEQUENCE,
            tags::PATIENT_ID,
            tags::PATIENT_NAME,
            tags::PATIENT_BIRTH_DATE,
            tags::PATIENT_SEX,
        ],
    ),
    ("series", &[tags::SERIES_INSTANCE_UID, tags::NUMBER_OF_SERIES_RELATED_INSTANCES]),
    ("instance", &[tags::SOP_INSTANCE_UID, tags::SOP_CLASS_UID, tags::INSTANCE_NUMBER]),
];

/// Returns the rows of the table below a heading, by cells, without the table head.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let (_, section) = PAGE.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let lines = section.lines().filter(|line| line.starts_with('|')).skip(2);
    lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// Returns the attributes in a text, each written as `Keyword (gggg,eeee)`. Keyword and tag must agree.
fn attributes(text: &str) -> Vec<Tag> {
    let words: Vec<_> = text.split([' ', ';', '\n']).filter(|word| !word.is_empty()).collect();
    let pairs = words.windows(2).filter_map(|pair| {
        let digits = pair[1].strip_prefix('(')?.trim_end_matches([',', '.']).strip_suffix(')')?;
        let digits: String = digits.split(',').collect();
        let by_digits = tag::parse(&digits).filter(|_| digits.len() == 8)?;
        assert_eq!(tag::parse(pair[0]), Some(by_digits), "{} ({digits})", pair[0]);
        Some(by_digits)
    });
    pairs.collect()
}

/// Adds the names of the elements in `object` to `names`, including those below the elements in `parents`.
fn collect_elements(object: &Value, parents: &[&str], path: &str, names: &mut BTreeSet<String>) {
    for (name, value) in object.as_object().unwrap() {
        if name.starts_with('_') || UNIVERSAL_ELEMENTS.contains(&name.as_str()) {
            continue;
        }
        let path = format!("{path}{name}");
        if parents.contains(&path.as_str()) {
            for value in value.as_array().unwrap() {
                collect_elements(value, parents, &format!("{path}."), names);
            }
        }
        names.insert(path);
    }
}

#[test]
fn every_element_of_r4_has_one_row_and_every_row_an_element() {
    for (resource, example) in ELEMENTS {
        let mut elements = BTreeSet::new();
        let parents = ["series", "series.performer", "series.instance"];
        collect_elements(&serde_json::from_str(example).unwrap(), &parents, "", &mut elements);
        let documented: Vec<_> = rows(resource).iter().map(|row| row[0].to_owned()).collect();
        assert_eq!(documented.len(), elements.len(), "{resource}: each element has one row");
        assert_eq!(documented.into_iter().collect::<BTreeSet<_>>(), elements, "{resource}");
    }
}

#[test]
fn an_element_without_a_source_has_a_reason_for_its_absence() {
    for row in ELEMENTS.iter().flat_map(|(resource, _)| rows(resource)) {
        let [element, attributes, level, rule] = row[..] else { panic!("{row:?}") };
        assert_eq!(level == "–", rule.starts_with("absent: "), "{element}");
        assert_eq!(attributes == "–", matches!(level, "–" | "configuration"), "{element}");
    }
}

#[test]
fn attributes_are_documented_at_the_level_at_which_they_are_requested() {
    let mut documented: BTreeMap<&str, BTreeSet<Tag>> = BTreeMap::new();
    for row in rows("ImagingStudy").into_iter().chain(rows("Patient")) {
        // A row for two levels lists the attributes of each, separated by a semicolon.
        let levels: Vec<_> = row[2].split("; ").collect();
        let sources: Vec<_> = row[1].split("; ").collect();
        assert_eq!(levels.len(), sources.len(), "{row:?}");
        for (level, source) in levels.into_iter().zip(sources) {
            documented.entry(level).or_default().extend(attributes(source));
        }
    }
    let context = MappingContext { notes: true, ..context() };
    let requested: [&[&[Tag]]; 3] = [
        &[study_tags(), study_note_tags(&context), patient_tags()],
        &[series_tags(), series_note_tags(&context)],
        &[instance_tags()],
    ];
    for ((level, default), requested) in RETURNED_BY_DEFAULT.into_iter().zip(requested) {
        let read: BTreeSet<Tag> = requested.iter().copied().chain([default]).flatten().copied().collect();
        assert_eq!(keywords(&documented[level]), keywords(&read), "{level}");
    }
}

#[test]
fn the_page_lists_exactly_the_attributes_that_the_code_reads() {
    let mut read = BTreeSet::new();
    for folder in ["src/mapping", "src/mapping/terminology"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "rs") || path.ends_with("tests.rs") {
                continue;
            }
            let source = std::fs::read_to_string(path).unwrap();
            for constant in source.split("tags::").skip(1) {
                let end = constant.find(|c: char| c != '_' && !c.is_ascii_uppercase() && !c.is_ascii_digit());
                let constant = &constant[..end.unwrap_or(constant.len())];
                read.extend((constant.len() > 1).then(|| constant.replace('_', "")));
            }
        }
    }
    assert!(read.len() > 80, "{}", read.len());
    let documented = attributes(PAGE).into_iter().map(|tag| tag::keyword(tag).unwrap().to_uppercase());
    assert_eq!(documented.collect::<BTreeSet<_>>(), read);
}

fn keywords(tags: &BTreeSet<Tag>) -> BTreeSet<&'static str> {
    tags.iter().map(|tag| tag::keyword(*tag).unwrap()).collect()
}

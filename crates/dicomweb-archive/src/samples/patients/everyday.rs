//! Patients with complete data.

use super::{NORTH, NORTH_ORDERS, NORTH_PATHOLOGY};
use crate::samples::codes;
use crate::samples::declaration::AttributeValue::{Absent, Present};
use crate::samples::declaration::{Kind, Patient, SeriesDeclaration, Specimen, StudyDeclaration, Syntax};

/// Studies with every kind of object, and with orders.
pub(super) const ANNA: Patient = Patient {
    id: Present("DEMO-0001"),
    issuer: Some(NORTH),
    name: Present("Demo^Anna^Maria^Dr.^MSc"),
    birth_date: Present("19640229"),
    sex: Present("F"),
    studies: &[
        StudyDeclaration {
            date: Present("20230511"),
            time: Present("081530.250000"),
            zone: Present("+0200"),
            id: Present("CT-1"),
            accession: Present("A10001"),
            accession_issuer: Some(NORTH_ORDERS),
            further_accessions: &["A10002", "A10003"],
            description: Present("CT Thorax with report"),
            procedures: &[codes::CT_OF_CHEST, codes::CT_CHEST_LOINC],
            reasons: &[codes::DYSPNEA, codes::COUGH_ICD],
            reason: Present("Shortness of breath"),
            referrer: Present("Invented^Ines^^Dr."),
            referrer_identification: Some(("R-4411", "North Hospital")),
            readers: &["Reader^Rita^^Dr.", "Second^Simon^^Dr."],
            admission: Present("V2023-0511"),
            admission_issuer: Some(NORTH),
            institution: Present("North Hospital"),
            department: Present("Radiology"),
            performed_step: Present("CT Thorax, low dose"),
            comments: Present("The phantom lay still."),
            series: &[
                SeriesDeclaration {
                    kind: Kind::Ct,
                    description: Present("Thorax 5.0 B70f"),
                    body_part: Present("CHEST"),
                    region: Some(codes::THORAX),
                    performers: &["Performer^Pia^^Dr."],
                    operators: &["Operator^Oskar", "Operator^Olga"],
                    protocol: Present("Thorax routine"),
                    serial_number: Present("CT-4411"),
                    comments: Present("Second try: the first was cut off at the apex."),
                    instances: 12,
                    size: 96,
                    ..SeriesDeclaration::DEFAULTS
                },
                SeriesDeclaration {
                    kind: Kind::Seg,
                    description: Present("Lungs"),
                    body_part: Present("CHEST"),
                    ..SeriesDeclaration::DEFAULTS
                },
                SeriesDeclaration {
                    kind: Kind::Sr,
                    description: Present("Radiology report"),
                    ..SeriesDeclaration::DEFAULTS
                },
                SeriesDeclaration {
                    kind: Kind::Ko,
                    description: Present("For referring provider"),
                    ..SeriesDeclaration::DEFAULTS
                },
                SeriesDeclaration {
                    kind: Kind::Pr,
                    description: Present("Lung window, nodule marked"),
                    ..SeriesDeclaration::DEFAULTS
                },
            ],
            ..StudyDeclaration::DEFAULTS
        },
        StudyDeclaration {
            date: Present("20230612"),
            time: Present("1405"),
            zone: Present("+0200"),
            id: Present("MR-1"),
            accession: Present("A10020"),
            accession_issuer: Some(NORTH_ORDERS),
            description: Present("MR Knee left"),
            institution: Present("North Hospital"),
            patient_location: Present("Ward 7"),
            procedures: &[codes::MR_OF_KNEE],
            referrer: Present("Invented^Ines^^Dr."),
            series: &[
                SeriesDeclaration {
                    kind: Kind::Mr,
                    description: Present("PD TSE sag"),
                    body_part: Present("KNEE"),
                    laterality: Present("L"),
                    region: Some(codes::KNEE_SRT),
                    instances: 8,
                    ..SeriesDeclaration::DEFAULTS
                },
                SeriesDeclaration {
                    kind: Kind::EnhancedMr,
                    description: Present("T2 3D SPACE"),
                    body_part: Present("KNEE"),
                    laterality: Present("L"),
                    frames: 10,
                    ..SeriesDeclaration::DEFAULTS
                },
            ],
            ..StudyDeclaration::DEFAULTS
        },
        StudyDeclaration {
            date: Present("20210103"),
            time: Present("235959"),
            zone: Present("+0100"),
            accession: Present("A09001"),
            description: Present("Chest PA"),
            procedures: &[codes::CHEST_RADLEX],
            syntax: Syntax::Implicit,
            series: &[SeriesDeclaration {
                kind: Kind::Cr,
                body_part: Present("CHEST"),
                size: 128,
                ..SeriesDeclaration::DEFAULTS
            }],
            ..StudyDeclaration::DEFAULTS
        },
    ],
    ..Patient::DEFAULTS
};

/// Hundreds of slices, a specimen, and a report on a study of another hospital.
pub(super) const MANY_SLICES: Patient = Patient {
    id: Present("DEMO-0016"),
    issuer: Some(NORTH),
    name: Present("Many^Slices"),
    birth_date: Present("19861112"),
    sex: Present("M"),
    studies: &[
        StudyDeclaration {
            date: Present("20240220"),
            time: Present("141516"),
            zone: Present("+0000"),
            accession: Present("A16001"),
            accession_issuer: Some(NORTH_ORDERS),
            description: Present("CT Angiography, thin slices"),
            procedures: &[codes::CT_ANGIOGRAPHY],
            series: &[
                SeriesDeclaration {
                    description: Present("CTA 0.6"),
                    body_part: Present("AORTA"),
                    instances: 220,
                    size: 16,
                    ..SeriesDeclaration::DEFAULTS
                },
                SeriesDeclaration {
                    description: Present("MPR cor"),
                    body_part: Present("AORTA"),
                    instances: 20,
                    size: 32,
                    ..SeriesDeclaration::DEFAULTS
                },
            ],
            ..StudyDeclaration::DEFAULTS
        },
        StudyDeclaration {
            date: Present("20240221"),
            time: Present("09"),
            accession: Present("A16002"),
            accession_issuer: Some(NORTH_ORDERS),
            description: Present("Report of an outside study"),
            series: &[
                SeriesDeclaration {
                    kind: Kind::Cr,
                    description: Present("Specimen radiograph"),
                    specimens: &[
                        Specimen {
                            id: "S16-2-A",
                            issuer: Some(NORTH_PATHOLOGY),
                            description: Present("Lung, wedge resection"),
                            kind: Some(codes::TISSUE_SPECIMEN),
                        },
                        Specimen {
                            id: "S16-2-B",
                            issuer: None,
                            description: Absent,
                            kind: Some(codes::TISSUE_SPECIMEN),
                        },
                    ],
                    size: 32,
                    ..SeriesDeclaration::DEFAULTS
                },
                SeriesDeclaration { kind: Kind::Sr, ..SeriesDeclaration::DEFAULTS },
            ],
            ..StudyDeclaration::DEFAULTS
        },
        StudyDeclaration {
            date: Present("20240301"),
            time: Present("120000"),
            zone: Present("-0330"),
            accession: Present("A16003"),
            description: Present("PET Brain"),
            series: &[SeriesDeclaration {
                kind: Kind::Pt,
                body_part: Present("BRAIN"),
                instances: 5,
                ..SeriesDeclaration::DEFAULTS
            }],
            ..StudyDeclaration::DEFAULTS
        },
    ],
    ..Patient::DEFAULTS
};

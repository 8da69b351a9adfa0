//! Patients with complete data.

use super::{NORTH, NORTH_ORDERS, NORTH_PATHOLOGY};
use crate::samples::codes;
use crate::samples::declaration::Given::{Absent, Is};
use crate::samples::declaration::{Kind, Patient, SeriesDeclaration, Specimen, StudyDeclaration, Syntax};

/// Studies with every kind of object, and with orders.
pub(super) const ANNA: Patient = Patient {
    id: Is("DEMO-0001"),
    issuer: Some(NORTH),
    name: Is("Demo^Anna^Maria^Dr.^MSc"),
    birth_date: Is("19640229"),
    sex: Is("F"),
    studies: &[
        StudyDeclaration {
            date: Is("20230511"),
            time: Is("081530.250000"),
            zone: Is("+0200"),
            id: Is("CT-1"),
            accession: Is("A10001"),
            accession_issuer: Some(NORTH_ORDERS),
            further_accessions: &["A10002", "A10003"],
            description: Is("CT Thorax with report"),
            procedures: &[codes::CT_OF_CHEST, codes::CT_CHEST_LOINC],
            reasons: &[codes::DYSPNEA, codes::COUGH_ICD],
            reason: Is("Shortness of breath"),
            referrer: Is("Invented^Ines^^Dr."),
            referrer_identification: Some(("R-4411", "North Hospital")),
            readers: &["Reader^Rita^^Dr.", "Second^Simon^^Dr."],
            admission: Is("V2023-0511"),
            admission_issuer: Some(NORTH),
            institution: Is("North Hospital"),
            department: Is("Radiology"),
            performed_step: Is("CT Thorax, low dose"),
            comments: Is("The phantom lay still."),
            series: &[
                SeriesDeclaration {
                    kind: Kind::Ct,
                    description: Is("Thorax 5.0 B70f"),
                    body_part: Is("CHEST"),
                    region: Some(codes::THORAX),
                    performers: &["Performer^Pia^^Dr."],
                    operators: &["Operator^Oskar", "Operator^Olga"],
                    protocol: Is("Thorax routine"),
                    serial_number: Is("CT-4411"),
                    comments: Is("Second try: the first was cut off at the apex."),
                    instances: 12,
                    size: 96,
                    ..SeriesDeclaration::PLAIN
                },
                SeriesDeclaration {
                    kind: Kind::Seg,
                    description: Is("Lungs"),
                    body_part: Is("CHEST"),
                    ..SeriesDeclaration::PLAIN
                },
                SeriesDeclaration {
                    kind: Kind::Sr,
                    description: Is("Radiology report"),
                    ..SeriesDeclaration::PLAIN
                },
                SeriesDeclaration {
                    kind: Kind::Ko,
                    description: Is("For referring provider"),
                    ..SeriesDeclaration::PLAIN
                },
                SeriesDeclaration {
                    kind: Kind::Pr,
                    description: Is("Lung window, nodule marked"),
                    ..SeriesDeclaration::PLAIN
                },
            ],
            ..StudyDeclaration::PLAIN
        },
        StudyDeclaration {
            date: Is("20230612"),
            time: Is("1405"),
            zone: Is("+0200"),
            id: Is("MR-1"),
            accession: Is("A10020"),
            accession_issuer: Some(NORTH_ORDERS),
            description: Is("MR Knee left"),
            institution: Is("North Hospital"),
            patient_location: Is("Ward 7"),
            procedures: &[codes::MR_OF_KNEE],
            referrer: Is("Invented^Ines^^Dr."),
            series: &[
                SeriesDeclaration {
                    kind: Kind::Mr,
                    description: Is("PD TSE sag"),
                    body_part: Is("KNEE"),
                    laterality: Is("L"),
                    region: Some(codes::KNEE_SRT),
                    instances: 8,
                    ..SeriesDeclaration::PLAIN
                },
                SeriesDeclaration {
                    kind: Kind::EnhancedMr,
                    description: Is("T2 3D SPACE"),
                    body_part: Is("KNEE"),
                    laterality: Is("L"),
                    frames: 10,
                    ..SeriesDeclaration::PLAIN
                },
            ],
            ..StudyDeclaration::PLAIN
        },
        StudyDeclaration {
            date: Is("20210103"),
            time: Is("235959"),
            zone: Is("+0100"),
            accession: Is("A09001"),
            description: Is("Chest PA"),
            procedures: &[codes::CHEST_RADLEX],
            syntax: Syntax::Implicit,
            series: &[SeriesDeclaration {
                kind: Kind::Cr,
                body_part: Is("CHEST"),
                size: 128,
                ..SeriesDeclaration::PLAIN
            }],
            ..StudyDeclaration::PLAIN
        },
    ],
    ..Patient::PLAIN
};

/// Hundreds of slices, a specimen, and a report on a study of another hospital.
pub(super) const MANY: Patient = Patient {
    id: Is("DEMO-0016"),
    issuer: Some(NORTH),
    name: Is("Many^Slices"),
    birth_date: Is("19861112"),
    sex: Is("M"),
    studies: &[
        StudyDeclaration {
            date: Is("20240220"),
            time: Is("141516"),
            zone: Is("+0000"),
            accession: Is("A16001"),
            accession_issuer: Some(NORTH_ORDERS),
            description: Is("CT Angiography, thin slices"),
            procedures: &[codes::CT_ANGIOGRAPHY],
            series: &[
                SeriesDeclaration {
                    description: Is("CTA 0.6"),
                    body_part: Is("AORTA"),
                    instances: 220,
                    size: 16,
                    ..SeriesDeclaration::PLAIN
                },
                SeriesDeclaration {
                    description: Is("MPR cor"),
                    body_part: Is("AORTA"),
                    instances: 20,
                    size: 32,
                    ..SeriesDeclaration::PLAIN
                },
            ],
            ..StudyDeclaration::PLAIN
        },
        StudyDeclaration {
            date: Is("20240221"),
            time: Is("09"),
            accession: Is("A16002"),
            accession_issuer: Some(NORTH_ORDERS),
            description: Is("Report of an outside study"),
            series: &[
                SeriesDeclaration {
                    kind: Kind::Cr,
                    description: Is("Specimen radiograph"),
                    specimens: &[
                        Specimen {
                            id: "S16-2-A",
                            issuer: Some(NORTH_PATHOLOGY),
                            description: Is("Lung, wedge resection"),
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
                    ..SeriesDeclaration::PLAIN
                },
                SeriesDeclaration { kind: Kind::Sr, ..SeriesDeclaration::PLAIN },
            ],
            ..StudyDeclaration::PLAIN
        },
        StudyDeclaration {
            date: Is("20240301"),
            time: Is("120000"),
            zone: Is("-0330"),
            accession: Is("A16003"),
            description: Is("PET Brain"),
            series: &[SeriesDeclaration {
                kind: Kind::Pt,
                body_part: Is("BRAIN"),
                instances: 5,
                ..SeriesDeclaration::PLAIN
            }],
            ..StudyDeclaration::PLAIN
        },
    ],
    ..Patient::PLAIN
};

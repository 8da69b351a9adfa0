//! Patients with identifiers that are difficult to distinguish: the same identifier from two issuers, identifiers with wildcards, and
//! identifiers that differ only in case.

use super::{NORTH, NORTH_ORDERS, SOUTH};
use crate::samples::codes;
use crate::samples::declaration::Given::Is;
use crate::samples::declaration::{Kind, Patient, SeriesDeclaration, StudyDeclaration};

/// A Patient ID that another hospital assigned to another patient.
pub(super) const FRANK: Patient = Patient {
    id: Is("4711"),
    issuer: Some(NORTH),
    name: Is("Fictional^Frank"),
    birth_date: Is("19330606"),
    sex: Is("M"),
    studies: &[
        StudyDeclaration {
            date: Is("20170101"),
            time: Is("080000"),
            accession: Is("D4711"),
            accession_issuer: Some(NORTH_ORDERS),
            description: Is("CT Abdomen"),
            procedures: &[codes::CT_OF_ABDOMEN_SRT],
            series: &[SeriesDeclaration {
                body_part: Is("ABDOMEN"),
                instances: 4,
                ..SeriesDeclaration::PLAIN
            }],
            ..StudyDeclaration::PLAIN
        },
        StudyDeclaration {
            date: Is("20170202"),
            time: Is("080000"),
            accession: Is("D4712"),
            description: Is("Chest"),
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

/// The other patient with the Patient ID of [`FRANK`].
pub(super) const ISABEL: Patient = Patient {
    id: Is("4711"),
    issuer: Some(SOUTH),
    name: Is("Imaginary^Isabel"),
    birth_date: Is("19990909"),
    sex: Is("F"),
    studies: &[StudyDeclaration {
        date: Is("20170101"),
        time: Is("090000"),
        accession: Is("D4711"),
        description: Is("US Thyroid"),
        series: &[SeriesDeclaration {
            kind: Kind::Us,
            body_part: Is("THYROID"),
            instances: 2,
            ..SeriesDeclaration::PLAIN
        }],
        ..StudyDeclaration::PLAIN
    }],
    ..Patient::PLAIN
};

/// Identifiers that contain DICOM wildcards.
pub(super) const ASTRID: Patient = Patient {
    id: Is("P*1"),
    name: Is("Asterisk^Astrid"),
    birth_date: Is("19720202"),
    sex: Is("F"),
    studies: &[
        StudyDeclaration {
            date: Is("20160606"),
            time: Is("101112"),
            accession: Is("ACC*7"),
            description: Is("CT Pelvis"),
            series: &[SeriesDeclaration {
                body_part: Is("PELVIS"),
                instances: 3,
                ..SeriesDeclaration::PLAIN
            }],
            ..StudyDeclaration::PLAIN
        },
        StudyDeclaration {
            date: Is("20160607"),
            time: Is("101112"),
            accession: Is("ACC?7"),
            description: Is("Ankle"),
            series: &[SeriesDeclaration {
                kind: Kind::Dx,
                body_part: Is("ANKLE"),
                laterality: Is("L"),
                size: 128,
                ..SeriesDeclaration::PLAIN
            }],
            ..StudyDeclaration::PLAIN
        },
    ],
    ..Patient::PLAIN
};

/// Identifiers that the wildcards of [`ASTRID`] match.
pub(super) const LEO: Patient = Patient {
    id: Is("P11"),
    name: Is("Lookalike^Leo"),
    birth_date: Is("19720203"),
    sex: Is("M"),
    studies: &[StudyDeclaration {
        date: Is("20160606"),
        time: Is("101113"),
        accession: Is("ACC17"),
        description: Is("CT Pelvis"),
        series: &[SeriesDeclaration { body_part: Is("PELVIS"), instances: 3, ..SeriesDeclaration::PLAIN }],
        ..StudyDeclaration::PLAIN
    }],
    ..Patient::PLAIN
};

/// Identifiers that differ from those of [`LEO`] only in case.
pub(super) const LOWER: Patient = Patient {
    id: Is("p11"),
    name: Is("Lookalike^Lower"),
    birth_date: Is("19720204"),
    sex: Is("M"),
    studies: &[StudyDeclaration {
        date: Is("20160608"),
        time: Is("101113"),
        accession: Is("acc17"),
        description: Is("CT Pelvis"),
        series: &[SeriesDeclaration { body_part: Is("PELVIS"), instances: 2, ..SeriesDeclaration::PLAIN }],
        ..StudyDeclaration::PLAIN
    }],
    ..Patient::PLAIN
};

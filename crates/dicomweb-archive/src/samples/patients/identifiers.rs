//! Patients with identifiers that are difficult to distinguish: the same identifier from two issuers, identifiers with wildcards, and
//! identifiers that differ only in case.

use super::{NORTH, NORTH_ORDERS, SOUTH};
use crate::samples::codes;
use crate::samples::declaration::AttributeValue::Present;
use crate::samples::declaration::{Kind, Patient, SeriesDeclaration, StudyDeclaration};

/// A Patient ID that another hospital assigned to another patient.
pub(super) const FRANK: Patient = Patient {
    id: Present("4711"),
    issuer: Some(NORTH),
    name: Present("Fictional^Frank"),
    birth_date: Present("19330606"),
    sex: Present("M"),
    studies: &[
        StudyDeclaration {
            date: Present("20170101"),
            time: Present("080000"),
            accession: Present("D4711"),
            accession_issuer: Some(NORTH_ORDERS),
            description: Present("CT Abdomen"),
            procedures: &[codes::CT_OF_ABDOMEN_SRT],
            series: &[SeriesDeclaration {
                body_part: Present("ABDOMEN"),
                instances: 4,
                ..SeriesDeclaration::DEFAULTS
            }],
            ..StudyDeclaration::DEFAULTS
        },
        StudyDeclaration {
            date: Present("20170202"),
            time: Present("080000"),
            accession: Present("D4712"),
            description: Present("Chest"),
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

/// The other patient with the Patient ID of [`FRANK`].
pub(super) const ISABEL: Patient = Patient {
    id: Present("4711"),
    issuer: Some(SOUTH),
    name: Present("Imaginary^Isabel"),
    birth_date: Present("19990909"),
    sex: Present("F"),
    studies: &[StudyDeclaration {
        date: Present("20170101"),
        time: Present("090000"),
        accession: Present("D4711"),
        description: Present("US Thyroid"),
        series: &[SeriesDeclaration {
            kind: Kind::Us,
            body_part: Present("THYROID"),
            instances: 2,
            ..SeriesDeclaration::DEFAULTS
        }],
        ..StudyDeclaration::DEFAULTS
    }],
    ..Patient::DEFAULTS
};

/// Identifiers that contain DICOM wildcards.
pub(super) const ASTRID: Patient = Patient {
    id: Present("P*1"),
    name: Present("Asterisk^Astrid"),
    birth_date: Present("19720202"),
    sex: Present("F"),
    studies: &[
        StudyDeclaration {
            date: Present("20160606"),
            time: Present("101112"),
            accession: Present("ACC*7"),
            description: Present("CT Pelvis"),
            series: &[SeriesDeclaration {
                body_part: Present("PELVIS"),
                instances: 3,
                ..SeriesDeclaration::DEFAULTS
            }],
            ..StudyDeclaration::DEFAULTS
        },
        StudyDeclaration {
            date: Present("20160607"),
            time: Present("101112"),
            accession: Present("ACC?7"),
            description: Present("Ankle"),
            series: &[SeriesDeclaration {
                kind: Kind::Dx,
                body_part: Present("ANKLE"),
                laterality: Present("L"),
                size: 128,
                ..SeriesDeclaration::DEFAULTS
            }],
            ..StudyDeclaration::DEFAULTS
        },
    ],
    ..Patient::DEFAULTS
};

/// Identifiers that the wildcards of [`ASTRID`] match.
pub(super) const LEO: Patient = Patient {
    id: Present("P11"),
    name: Present("Lookalike^Leo"),
    birth_date: Present("19720203"),
    sex: Present("M"),
    studies: &[StudyDeclaration {
        date: Present("20160606"),
        time: Present("101113"),
        accession: Present("ACC17"),
        description: Present("CT Pelvis"),
        series: &[SeriesDeclaration {
            body_part: Present("PELVIS"),
            instances: 3,
            ..SeriesDeclaration::DEFAULTS
        }],
        ..StudyDeclaration::DEFAULTS
    }],
    ..Patient::DEFAULTS
};

/// Identifiers that differ from those of [`LEO`] only in case.
pub(super) const LOWER: Patient = Patient {
    id: Present("p11"),
    name: Present("Lookalike^Lower"),
    birth_date: Present("19720204"),
    sex: Present("M"),
    studies: &[StudyDeclaration {
        date: Present("20160608"),
        time: Present("101113"),
        accession: Present("acc17"),
        description: Present("CT Pelvis"),
        series: &[SeriesDeclaration {
            body_part: Present("PELVIS"),
            instances: 2,
            ..SeriesDeclaration::DEFAULTS
        }],
        ..StudyDeclaration::DEFAULTS
    }],
    ..Patient::DEFAULTS
};

//! Patients with few attributes, or with attributes in old formats.

use crate::samples::declaration::AttributeValue::{Absent, Empty, Present};
use crate::samples::declaration::{Kind, Patient, SeriesDeclaration, StudyDeclaration};

/// A patient with almost no attributes.
pub(super) const WITHOUT_ATTRIBUTES: Patient = Patient {
    id: Empty,
    name: Empty,
    birth_date: Absent,
    sex: Empty,
    studies: &[
        StudyDeclaration {
            date: Empty,
            time: Empty,
            accession: Absent,
            id: Absent,
            series: &[SeriesDeclaration {
                body_part: Present("EXTREMITY"),
                has_modality: false,
                ..SeriesDeclaration::DEFAULTS
            }],
            ..StudyDeclaration::DEFAULTS
        },
        StudyDeclaration {
            date: Absent,
            time: Absent,
            id: Empty,
            accession: Empty,
            referrer: Absent,
            series: &[SeriesDeclaration {
                kind: Kind::Us,
                description: Empty,
                ..SeriesDeclaration::DEFAULTS
            }],
            ..StudyDeclaration::DEFAULTS
        },
    ],
    ..Patient::DEFAULTS
};

/// Dates and times in the ACR-NEMA format (PS3.5 6.2, notes to DA and TM).
pub(super) const ROSA: Patient = Patient {
    id: Present("OLD-94"),
    name: Present("Relic^Rosa"),
    birth_date: Present("1921.12.24"),
    sex: Present("F"),
    studies: &[StudyDeclaration {
        date: Present("1994.01.30"),
        time: Present("11:25:01"),
        accession: Present("X94"),
        description: Present("CT BRAIN"),
        series: &[SeriesDeclaration {
            body_part: Present("BRAIN"),
            instances: 2,
            ..SeriesDeclaration::DEFAULTS
        }],
        ..StudyDeclaration::DEFAULTS
    }],
    ..Patient::DEFAULTS
};

//! Patients with few attributes, or with attributes in old formats.

use crate::samples::declaration::Given::{Absent, Empty, Is};
use crate::samples::declaration::{Kind, Patient, SeriesDeclaration, StudyDeclaration};

/// A patient with almost no attributes.
pub(super) const NOBODY: Patient = Patient {
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
                body_part: Is("EXTREMITY"),
                with_modality: false,
                ..SeriesDeclaration::PLAIN
            }],
            ..StudyDeclaration::PLAIN
        },
        StudyDeclaration {
            date: Absent,
            time: Absent,
            id: Empty,
            accession: Empty,
            referrer: Absent,
            series: &[SeriesDeclaration { kind: Kind::Us, description: Empty, ..SeriesDeclaration::PLAIN }],
            ..StudyDeclaration::PLAIN
        },
    ],
    ..Patient::PLAIN
};

/// Dates and times in the ACR-NEMA format (PS3.5 6.2, notes to DA and TM).
pub(super) const ROSA: Patient = Patient {
    id: Is("OLD-94"),
    name: Is("Relic^Rosa"),
    birth_date: Is("1921.12.24"),
    sex: Is("F"),
    studies: &[StudyDeclaration {
        // Dates and times in the ACR-NEMA format (PS3.5 6.2, notes to DA and TM).
        date: Is("1994.01.30"),
        time: Is("11:25:01"),
        accession: Is("X94"),
        description: Is("CT BRAIN"),
        series: &[SeriesDeclaration { body_part: Is("BRAIN"), instances: 2, ..SeriesDeclaration::PLAIN }],
        ..StudyDeclaration::PLAIN
    }],
    ..Patient::PLAIN
};

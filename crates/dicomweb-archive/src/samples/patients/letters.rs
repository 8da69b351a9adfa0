//! Patients with names in many scripts, each in its character set (PS3.3 C.12.1.1.2).

use super::SOUTH;
use crate::samples::codes;
use crate::samples::declaration::Given::{Absent, Is};
use crate::samples::declaration::{Kind, Patient, SeriesDeclaration, StudyDeclaration, Syntax};

/// A name with kanji and kana in ISO 2022 IR 87, after ASCII.
pub(super) const HANAKO: Patient = Patient {
    id: Is("DEMO-0002"),
    name: Is("Kaku^Hanako=架空^花子=かくう^はなこ"),
    character_sets: &["", "ISO 2022 IR 87"],
    birth_date: Is("19790707"),
    sex: Is("F"),
    studies: &[
        StudyDeclaration {
            date: Is("20220315"),
            time: Is("093000"),
            zone: Is("+0900"),
            accession: Is("J2001"),
            description: Is("頭部MRI"),
            procedures: &[codes::MR_OF_BRAIN_LOCAL],
            referrer: Is("Kaku^Ishi=架空^医師=かくう^いし"),
            readers: &["Kaku^Dokuei=架空^読影"],
            series: &[
                SeriesDeclaration {
                    kind: Kind::Mr,
                    description: Is("T1強調"),
                    body_part: Is("HEAD"),
                    instances: 10,
                    ..SeriesDeclaration::PLAIN
                },
                SeriesDeclaration {
                    kind: Kind::Mr,
                    description: Is("T2強調"),
                    body_part: Is("HEAD"),
                    instances: 10,
                    ..SeriesDeclaration::PLAIN
                },
            ],
            ..StudyDeclaration::PLAIN
        },
        StudyDeclaration {
            date: Is("20220401"),
            time: Is("160000"),
            zone: Is("+0900"),
            accession: Is("J2002"),
            description: Is("腹部CT"),
            procedures: &[codes::CT_OF_ABDOMEN_SRT],
            series: &[SeriesDeclaration {
                body_part: Is("ABDOMEN"),
                instances: 6,
                ..SeriesDeclaration::PLAIN
            }],
            ..StudyDeclaration::PLAIN
        },
    ],
    ..Patient::PLAIN
};

/// A name with half-width katakana in ISO 2022 IR 13 in the first component group.
pub(super) const JIRO: Patient = Patient {
    id: Is("DEMO-0003"),
    name: Is("ｶｸｳ^ｼﾞﾛｳ=架空^次郎=かくう^じろう"),
    character_sets: &["ISO 2022 IR 13", "ISO 2022 IR 87"],
    birth_date: Is("19550101"),
    sex: Is("M"),
    studies: &[
        StudyDeclaration {
            date: Is("20191120"),
            time: Is("101500"),
            accession: Is("J3001"),
            description: Is("冠動脈造影"),
            series: &[
                SeriesDeclaration {
                    kind: Kind::Xa,
                    description: Is("ﾋﾀﾞﾘ ｶﾝﾄﾞｳﾐｬｸ"),
                    body_part: Is("HEART"),
                    frames: 12,
                    ..SeriesDeclaration::PLAIN
                },
                SeriesDeclaration {
                    kind: Kind::Xa,
                    body_part: Is("HEART"),
                    frames: 8,
                    ..SeriesDeclaration::PLAIN
                },
            ],
            ..StudyDeclaration::PLAIN
        },
        StudyDeclaration {
            date: Is("20191121"),
            time: Is("111500"),
            accession: Is("J3002"),
            description: Is("心エコー"),
            syntax: Syntax::Rle,
            series: &[
                SeriesDeclaration {
                    kind: Kind::UsMultiFrame,
                    body_part: Is("HEART"),
                    frames: 16,
                    ..SeriesDeclaration::PLAIN
                },
                SeriesDeclaration {
                    kind: Kind::Us,
                    body_part: Is("HEART"),
                    instances: 2,
                    ..SeriesDeclaration::PLAIN
                },
            ],
            ..StudyDeclaration::PLAIN
        },
    ],
    ..Patient::PLAIN
};

/// A name in Cyrillic script.
pub(super) const IVAN: Patient = Patient {
    id: Is("DEMO-0004"),
    name: Is("Вымышленный^Иван^Примерович"),
    character_sets: &["ISO_IR 144"],
    birth_date: Is("19880310"),
    sex: Is("M"),
    studies: &[
        StudyDeclaration {
            date: Is("20200229"),
            time: Is("120000"),
            zone: Is("+0300"),
            accession: Is("R4001"),
            description: Is("Рентген кисти"),
            series: &[SeriesDeclaration {
                kind: Kind::Dx,
                description: Is("Правая кисть"),
                body_part: Is("HAND"),
                laterality: Is("R"),
                instances: 2,
                size: 128,
                ..SeriesDeclaration::PLAIN
            }],
            ..StudyDeclaration::PLAIN
        },
        StudyDeclaration {
            date: Is("20200301"),
            time: Is("070809"),
            zone: Is("+0300"),
            accession: Is("R4002"),
            description: Is("КТ головы"),
            procedures: &[codes::CT_OF_HEAD_LOCAL],
            series: &[SeriesDeclaration { body_part: Is("HEAD"), instances: 7, ..SeriesDeclaration::PLAIN }],
            ..StudyDeclaration::PLAIN
        },
    ],
    ..Patient::PLAIN
};

/// A name in Greek script.
pub(super) const ELENI: Patient = Patient {
    id: Is("DEMO-0005"),
    name: Is("Φανταστική^Ελένη"),
    character_sets: &["ISO_IR 126"],
    birth_date: Is("1960"),
    sex: Is("F"),
    studies: &[
        StudyDeclaration {
            date: Is("20230301"),
            time: Is("101010"),
            zone: Is("+0200"),
            accession: Is("G5001"),
            description: Is("Μαστογραφία"),
            procedures: &[codes::MAMMOGRAPHY],
            series: &[
                SeriesDeclaration {
                    kind: Kind::Mg,
                    description: Is("R CC"),
                    body_part: Is("BREAST"),
                    laterality: Is("R"),
                    region: Some(codes::BREAST),
                    size: 128,
                    ..SeriesDeclaration::PLAIN
                },
                SeriesDeclaration {
                    kind: Kind::Mg,
                    description: Is("L CC"),
                    body_part: Is("BREAST"),
                    laterality: Is("L"),
                    region: Some(codes::BREAST),
                    size: 128,
                    ..SeriesDeclaration::PLAIN
                },
            ],
            ..StudyDeclaration::PLAIN
        },
        StudyDeclaration {
            date: Is("20230302"),
            time: Is("101010"),
            zone: Is("+0200"),
            accession: Is("G5002"),
            description: Is("Υπερηχογράφημα μαστού"),
            series: &[SeriesDeclaration {
                kind: Kind::Us,
                body_part: Is("BREAST"),
                laterality: Is("B"),
                instances: 3,
                ..SeriesDeclaration::PLAIN
            }],
            ..StudyDeclaration::PLAIN
        },
    ],
    ..Patient::PLAIN
};

/// A name with hanja and hangul in ISO 2022 IR 149.
pub(super) const MINJUN: Patient = Patient {
    id: Is("DEMO-0006"),
    name: Is("Gasang^Minjun=假想^民俊=가상^민준"),
    character_sets: &["", "ISO 2022 IR 149"],
    birth_date: Is("19911231"),
    sex: Is("M"),
    studies: &[
        StudyDeclaration {
            date: Is("20221001"),
            time: Is("083000"),
            zone: Is("+0900"),
            accession: Is("K6001"),
            description: Is("전신 PET/CT"),
            procedures: &[codes::PET_CT],
            series: &[
                SeriesDeclaration {
                    description: Is("CT 감쇠보정"),
                    body_part: Is("WHOLEBODY"),
                    instances: 9,
                    ..SeriesDeclaration::PLAIN
                },
                SeriesDeclaration {
                    kind: Kind::Pt,
                    description: Is("PET"),
                    body_part: Is("WHOLEBODY"),
                    instances: 9,
                    ..SeriesDeclaration::PLAIN
                },
            ],
            ..StudyDeclaration::PLAIN
        },
        StudyDeclaration {
            date: Is("20221115"),
            time: Is("090000"),
            accession: Is("K6002"),
            description: Is("흉부 X선"),
            series: &[SeriesDeclaration {
                kind: Kind::Dx,
                body_part: Is("CHEST"),
                size: 128,
                ..SeriesDeclaration::PLAIN
            }],
            ..StudyDeclaration::PLAIN
        },
    ],
    ..Patient::PLAIN
};

/// A name in Latin-1 with all five components.
pub(super) const JUERGEN: Patient = Patient {
    id: Is("DEMO-0007"),
    name: Is("Muster-Müßig^Jürgen^François^Prof.^Jr."),
    character_sets: &["ISO_IR 100"],
    birth_date: Is("19450508"),
    sex: Is("M"),
    studies: &[
        StudyDeclaration {
            date: Is("20180704"),
            time: Is("173000.5"),
            zone: Is("-0500"),
            accession: Is("L7001"),
            description: Is("Kniegelenk beidseits, Ganzaufnahme"),
            reason: Is("Übung für den Ernstfall"),
            series: &[
                SeriesDeclaration {
                    kind: Kind::Dx,
                    body_part: Is("KNEE"),
                    laterality: Is("R"),
                    region: Some(codes::KNEE),
                    size: 128,
                    ..SeriesDeclaration::PLAIN
                },
                SeriesDeclaration {
                    kind: Kind::Dx,
                    body_part: Is("KNEE"),
                    laterality: Is("L"),
                    region: Some(codes::KNEE),
                    size: 128,
                    ..SeriesDeclaration::PLAIN
                },
            ],
            ..StudyDeclaration::PLAIN
        },
        StudyDeclaration {
            // A date without a time.
            date: Is("20180705"),
            time: Absent,
            accession: Is("L7002"),
            description: Is("Schädel nativ"),
            procedures: &[codes::CT_OF_HEAD],
            series: &[SeriesDeclaration { body_part: Is("SKULL"), instances: 5, ..SeriesDeclaration::PLAIN }],
            ..StudyDeclaration::PLAIN
        },
    ],
    ..Patient::PLAIN
};

/// A name in UTF-8.
pub(super) const SARKA: Patient = Patient {
    id: Is("DEMO-0008"),
    issuer: Some(SOUTH),
    name: Is("Smyšlená^Šárka=想像^莎卡"),
    character_sets: &["ISO_IR 192"],
    birth_date: Is("20010911"),
    sex: Is("F"),
    studies: &[
        StudyDeclaration {
            date: Is("20231231"),
            time: Is("235900"),
            zone: Is("+0530"),
            accession: Is("U8001"),
            description: Is("MR páteře – bederní ✓"),
            procedures: &[codes::MR_OF_LUMBAR_SPINE],
            series: &[
                SeriesDeclaration {
                    kind: Kind::Mr,
                    body_part: Is("LSPINE"),
                    instances: 6,
                    ..SeriesDeclaration::PLAIN
                },
                SeriesDeclaration {
                    kind: Kind::Pr, description: Is("Měření"), ..SeriesDeclaration::PLAIN
                },
            ],
            ..StudyDeclaration::PLAIN
        },
        StudyDeclaration {
            date: Is("20240101"),
            time: Is("000000"),
            zone: Is("+0530"),
            accession: Is("U8002"),
            description: Is("US břicha"),
            series: &[SeriesDeclaration {
                kind: Kind::UsMultiFrame,
                body_part: Is("ABDOMEN"),
                frames: 6,
                ..SeriesDeclaration::PLAIN
            }],
            ..StudyDeclaration::PLAIN
        },
    ],
};

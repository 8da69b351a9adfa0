//! Patients with names in many scripts, each in its character set (PS3.3 C.12.1.1.2).

use super::SOUTH;
use crate::samples::codes;
use crate::samples::declaration::AttributeValue::{Absent, Present};
use crate::samples::declaration::{Kind, Patient, SeriesDeclaration, StudyDeclaration, Syntax};

/// A name with kanji and kana in ISO 2022 IR 87, after ASCII.
pub(super) const HANAKO: Patient = Patient {
    id: Present("DEMO-0002"),
    name: Present("Kaku^Hanako=架空^花子=かくう^はなこ"),
    character_sets: &["", "ISO 2022 IR 87"],
    birth_date: Present("19790707"),
    sex: Present("F"),
    studies: &[
        StudyDeclaration {
            date: Present("20220315"),
            time: Present("093000"),
            zone: Present("+0900"),
            accession: Present("J2001"),
            description: Present("頭部MRI"),
            procedures: &[codes::MR_OF_BRAIN_LOCAL],
            referrer: Present("Kaku^Ishi=架空^医師=かくう^いし"),
            readers: &["Kaku^Dokuei=架空^読影"],
            series: &[
                SeriesDeclaration {
                    kind: Kind::Mr,
                    description: Present("T1強調"),
                    body_part: Present("HEAD"),
                    instances: 10,
                    ..SeriesDeclaration::DEFAULTS
                },
                SeriesDeclaration {
                    kind: Kind::Mr,
                    description: Present("T2強調"),
                    body_part: Present("HEAD"),
                    instances: 10,
                    ..SeriesDeclaration::DEFAULTS
                },
            ],
            ..StudyDeclaration::DEFAULTS
        },
        StudyDeclaration {
            date: Present("20220401"),
            time: Present("160000"),
            zone: Present("+0900"),
            accession: Present("J2002"),
            description: Present("腹部CT"),
            procedures: &[codes::CT_OF_ABDOMEN_SRT],
            series: &[SeriesDeclaration {
                body_part: Present("ABDOMEN"),
                instances: 6,
                ..SeriesDeclaration::DEFAULTS
            }],
            ..StudyDeclaration::DEFAULTS
        },
    ],
    ..Patient::DEFAULTS
};

/// A name with half-width katakana in ISO 2022 IR 13 in the first component group.
pub(super) const JIRO: Patient = Patient {
    id: Present("DEMO-0003"),
    name: Present("ｶｸｳ^ｼﾞﾛｳ=架空^次郎=かくう^じろう"),
    character_sets: &["ISO 2022 IR 13", "ISO 2022 IR 87"],
    birth_date: Present("19550101"),
    sex: Present("M"),
    studies: &[
        StudyDeclaration {
            date: Present("20191120"),
            time: Present("101500"),
            accession: Present("J3001"),
            description: Present("冠動脈造影"),
            series: &[
                SeriesDeclaration {
                    kind: Kind::Xa,
                    description: Present("ﾋﾀﾞﾘ ｶﾝﾄﾞｳﾐｬｸ"),
                    body_part: Present("HEART"),
                    frames: 12,
                    ..SeriesDeclaration::DEFAULTS
                },
                SeriesDeclaration {
                    kind: Kind::Xa,
                    body_part: Present("HEART"),
                    frames: 8,
                    ..SeriesDeclaration::DEFAULTS
                },
            ],
            ..StudyDeclaration::DEFAULTS
        },
        StudyDeclaration {
            date: Present("20191121"),
            time: Present("111500"),
            accession: Present("J3002"),
            description: Present("心エコー"),
            syntax: Syntax::Rle,
            series: &[
                SeriesDeclaration {
                    kind: Kind::UsMultiFrame,
                    body_part: Present("HEART"),
                    frames: 16,
                    ..SeriesDeclaration::DEFAULTS
                },
                SeriesDeclaration {
                    kind: Kind::Us,
                    body_part: Present("HEART"),
                    instances: 2,
                    ..SeriesDeclaration::DEFAULTS
                },
            ],
            ..StudyDeclaration::DEFAULTS
        },
    ],
    ..Patient::DEFAULTS
};

/// A name in Cyrillic script.
pub(super) const IVAN: Patient = Patient {
    id: Present("DEMO-0004"),
    name: Present("Вымышленный^Иван^Примерович"),
    character_sets: &["ISO_IR 144"],
    birth_date: Present("19880310"),
    sex: Present("M"),
    studies: &[
        StudyDeclaration {
            date: Present("20200229"),
            time: Present("120000"),
            zone: Present("+0300"),
            accession: Present("R4001"),
            description: Present("Рентген кисти"),
            series: &[SeriesDeclaration {
                kind: Kind::Dx,
                description: Present("Правая кисть"),
                body_part: Present("HAND"),
                laterality: Present("R"),
                instances: 2,
                size: 128,
                ..SeriesDeclaration::DEFAULTS
            }],
            ..StudyDeclaration::DEFAULTS
        },
        StudyDeclaration {
            date: Present("20200301"),
            time: Present("070809"),
            zone: Present("+0300"),
            accession: Present("R4002"),
            description: Present("КТ головы"),
            procedures: &[codes::CT_OF_HEAD_LOCAL],
            series: &[SeriesDeclaration {
                body_part: Present("HEAD"),
                instances: 7,
                ..SeriesDeclaration::DEFAULTS
            }],
            ..StudyDeclaration::DEFAULTS
        },
    ],
    ..Patient::DEFAULTS
};

/// A name in Greek script.
pub(super) const ELENI: Patient = Patient {
    id: Present("DEMO-0005"),
    name: Present("Φανταστική^Ελένη"),
    character_sets: &["ISO_IR 126"],
    birth_date: Present("1960"),
    sex: Present("F"),
    studies: &[
        StudyDeclaration {
            date: Present("20230301"),
            time: Present("101010"),
            zone: Present("+0200"),
            accession: Present("G5001"),
            description: Present("Μαστογραφία"),
            procedures: &[codes::MAMMOGRAPHY],
            series: &[
                SeriesDeclaration {
                    kind: Kind::Mg,
                    description: Present("R CC"),
                    body_part: Present("BREAST"),
                    laterality: Present("R"),
                    region: Some(codes::BREAST),
                    size: 128,
                    ..SeriesDeclaration::DEFAULTS
                },
                SeriesDeclaration {
                    kind: Kind::Mg,
                    description: Present("L CC"),
                    body_part: Present("BREAST"),
                    laterality: Present("L"),
                    region: Some(codes::BREAST),
                    size: 128,
                    ..SeriesDeclaration::DEFAULTS
                },
            ],
            ..StudyDeclaration::DEFAULTS
        },
        StudyDeclaration {
            date: Present("20230302"),
            time: Present("101010"),
            zone: Present("+0200"),
            accession: Present("G5002"),
            description: Present("Υπερηχογράφημα μαστού"),
            series: &[SeriesDeclaration {
                kind: Kind::Us,
                body_part: Present("BREAST"),
                laterality: Present("B"),
                instances: 3,
                ..SeriesDeclaration::DEFAULTS
            }],
            ..StudyDeclaration::DEFAULTS
        },
    ],
    ..Patient::DEFAULTS
};

/// A name with hanja and hangul in ISO 2022 IR 149.
pub(super) const MINJUN: Patient = Patient {
    id: Present("DEMO-0006"),
    name: Present("Gasang^Minjun=假想^民俊=가상^민준"),
    character_sets: &["", "ISO 2022 IR 149"],
    birth_date: Present("19911231"),
    sex: Present("M"),
    studies: &[
        StudyDeclaration {
            date: Present("20221001"),
            time: Present("083000"),
            zone: Present("+0900"),
            accession: Present("K6001"),
            description: Present("전신 PET/CT"),
            procedures: &[codes::PET_CT],
            series: &[
                SeriesDeclaration {
                    description: Present("CT 감쇠보정"),
                    body_part: Present("WHOLEBODY"),
                    instances: 9,
                    ..SeriesDeclaration::DEFAULTS
                },
                SeriesDeclaration {
                    kind: Kind::Pt,
                    description: Present("PET"),
                    body_part: Present("WHOLEBODY"),
                    instances: 9,
                    ..SeriesDeclaration::DEFAULTS
                },
            ],
            ..StudyDeclaration::DEFAULTS
        },
        StudyDeclaration {
            date: Present("20221115"),
            time: Present("090000"),
            accession: Present("K6002"),
            description: Present("흉부 X선"),
            series: &[SeriesDeclaration {
                kind: Kind::Dx,
                body_part: Present("CHEST"),
                size: 128,
                ..SeriesDeclaration::DEFAULTS
            }],
            ..StudyDeclaration::DEFAULTS
        },
    ],
    ..Patient::DEFAULTS
};

/// A name in Latin-1 with all five components.
pub(super) const JUERGEN: Patient = Patient {
    id: Present("DEMO-0007"),
    name: Present("Muster-Müßig^Jürgen^François^Prof.^Jr."),
    character_sets: &["ISO_IR 100"],
    birth_date: Present("19450508"),
    sex: Present("M"),
    studies: &[
        StudyDeclaration {
            date: Present("20180704"),
            time: Present("173000.5"),
            zone: Present("-0500"),
            accession: Present("L7001"),
            description: Present("Kniegelenk beidseits, Ganzaufnahme"),
            reason: Present("Übung für den Ernstfall"),
            series: &[
                SeriesDeclaration {
                    kind: Kind::Dx,
                    body_part: Present("KNEE"),
                    laterality: Present("R"),
                    region: Some(codes::KNEE),
                    size: 128,
                    ..SeriesDeclaration::DEFAULTS
                },
                SeriesDeclaration {
                    kind: Kind::Dx,
                    body_part: Present("KNEE"),
                    laterality: Present("L"),
                    region: Some(codes::KNEE),
                    size: 128,
                    ..SeriesDeclaration::DEFAULTS
                },
            ],
            ..StudyDeclaration::DEFAULTS
        },
        StudyDeclaration {
            // A date without a time.
            date: Present("20180705"),
            time: Absent,
            accession: Present("L7002"),
            description: Present("Schädel nativ"),
            procedures: &[codes::CT_OF_HEAD],
            series: &[SeriesDeclaration {
                body_part: Present("SKULL"),
                instances: 5,
                ..SeriesDeclaration::DEFAULTS
            }],
            ..StudyDeclaration::DEFAULTS
        },
    ],
    ..Patient::DEFAULTS
};

/// A name in UTF-8.
pub(super) const SARKA: Patient = Patient {
    id: Present("DEMO-0008"),
    issuer: Some(SOUTH),
    name: Present("Smyšlená^Šárka=想像^莎卡"),
    character_sets: &["ISO_IR 192"],
    birth_date: Present("20010911"),
    sex: Present("F"),
    studies: &[
        StudyDeclaration {
            date: Present("20231231"),
            time: Present("235900"),
            zone: Present("+0530"),
            accession: Present("U8001"),
            description: Present("MR páteře – bederní ✓"),
            procedures: &[codes::MR_OF_LUMBAR_SPINE],
            series: &[
                SeriesDeclaration {
                    kind: Kind::Mr,
                    body_part: Present("LSPINE"),
                    instances: 6,
                    ..SeriesDeclaration::DEFAULTS
                },
                SeriesDeclaration {
                    kind: Kind::Pr,
                    description: Present("Měření"),
                    ..SeriesDeclaration::DEFAULTS
                },
            ],
            ..StudyDeclaration::DEFAULTS
        },
        StudyDeclaration {
            date: Present("20240101"),
            time: Present("000000"),
            zone: Present("+0530"),
            accession: Present("U8002"),
            description: Present("US břicha"),
            series: &[SeriesDeclaration {
                kind: Kind::UsMultiFrame,
                body_part: Present("ABDOMEN"),
                frames: 6,
                ..SeriesDeclaration::DEFAULTS
            }],
            ..StudyDeclaration::DEFAULTS
        },
    ],
};

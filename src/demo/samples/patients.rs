//! The sample patients and their studies. All of them are invented: names say so in their own language, dates are
//! years past, and identifiers come from issuers under the arc that is reserved for examples (2.999).

use super::codes;
use super::declaration::Given::{Absent, Empty, Is};
use super::declaration::{Issuer, Kind, Patient, Series, Study, Syntax};

/// A hospital whose identifiers have an OID.
const NORTH: Issuer = Issuer { local: "NORTH", universal: Some("2.999.1.1") };
/// A hospital that is known by its local name only.
const SOUTH: Issuer = Issuer { local: "SOUTH", universal: None };
/// The order system of the first.
const NORTH_ORDERS: Issuer = Issuer { local: "NORTH-RIS", universal: Some("2.999.1.2") };

/// Every patient, in the order in which their UIDs are numbered: new ones are added at the end.
pub(super) const PATIENTS: &[Patient] = &[
    Patient {
        id: Is("DEMO-0001"),
        issuer: Some(NORTH),
        name: Is("Demo^Anna^Maria^Dr.^MSc"),
        birth_date: Is("19640229"),
        sex: Is("F"),
        studies: &[
            Study {
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
                series: &[
                    Series {
                        kind: Kind::Ct,
                        description: Is("Thorax 5.0 B70f"),
                        body_part: Is("CHEST"),
                        region: Some(codes::THORAX),
                        performers: &["Performer^Pia^^Dr."],
                        operators: &["Operator^Oskar", "Operator^Olga"],
                        protocol: Is("Thorax routine"),
                        instances: 12,
                        size: 96,
                        ..Series::PLAIN
                    },
                    Series {
                        kind: Kind::Seg,
                        description: Is("Lungs"),
                        body_part: Is("CHEST"),
                        ..Series::PLAIN
                    },
                    Series { kind: Kind::Sr, description: Is("Radiology report"), ..Series::PLAIN },
                    Series { kind: Kind::Ko, description: Is("For referring provider"), ..Series::PLAIN },
                    Series { kind: Kind::Pr, description: Is("Lung window, nodule marked"), ..Series::PLAIN },
                ],
                ..Study::PLAIN
            },
            Study {
                date: Is("20230612"),
                time: Is("1405"),
                zone: Is("+0200"),
                id: Is("MR-1"),
                accession: Is("A10020"),
                accession_issuer: Some(NORTH_ORDERS),
                description: Is("MR Knee left"),
                procedures: &[codes::MR_OF_KNEE],
                referrer: Is("Invented^Ines^^Dr."),
                series: &[
                    Series {
                        kind: Kind::Mr,
                        description: Is("PD TSE sag"),
                        body_part: Is("codes::KNEE"),
                        laterality: Is("L"),
                        region: Some(codes::KNEE_SRT),
                        instances: 8,
                        ..Series::PLAIN
                    },
                    Series {
                        kind: Kind::EnhancedMr,
                        description: Is("T2 3D SPACE"),
                        body_part: Is("codes::KNEE"),
                        laterality: Is("L"),
                        frames: 10,
                        ..Series::PLAIN
                    },
                ],
                ..Study::PLAIN
            },
            Study {
                date: Is("20210103"),
                time: Is("235959"),
                zone: Is("+0100"),
                accession: Is("A09001"),
                description: Is("Chest PA"),
                procedures: &[codes::CHEST_RADLEX],
                syntax: Syntax::Implicit,
                series: &[Series { kind: Kind::Cr, body_part: Is("CHEST"), size: 128, ..Series::PLAIN }],
                ..Study::PLAIN
            },
        ],
        ..Patient::PLAIN
    },
    Patient {
        id: Is("DEMO-0002"),
        name: Is("Kaku^Hanako=架空^花子=かくう^はなこ"),
        character_sets: &["", "ISO 2022 IR 87"],
        birth_date: Is("19790707"),
        sex: Is("F"),
        studies: &[
            Study {
                date: Is("20220315"),
                time: Is("093000"),
                zone: Is("+0900"),
                accession: Is("J2001"),
                description: Is("頭部MRI"),
                procedures: &[codes::MR_OF_BRAIN_LOCAL],
                referrer: Is("Kaku^Ishi=架空^医師=かくう^いし"),
                readers: &["Kaku^Dokuei=架空^読影"],
                series: &[
                    Series {
                        kind: Kind::Mr,
                        description: Is("T1強調"),
                        body_part: Is("HEAD"),
                        instances: 10,
                        ..Series::PLAIN
                    },
                    Series {
                        kind: Kind::Mr,
                        description: Is("T2強調"),
                        body_part: Is("HEAD"),
                        instances: 10,
                        ..Series::PLAIN
                    },
                ],
                ..Study::PLAIN
            },
            Study {
                date: Is("20220401"),
                time: Is("160000"),
                zone: Is("+0900"),
                accession: Is("J2002"),
                description: Is("腹部CT"),
                procedures: &[codes::CT_OF_ABDOMEN_SRT],
                series: &[Series { body_part: Is("ABDOMEN"), instances: 6, ..Series::PLAIN }],
                ..Study::PLAIN
            },
        ],
        ..Patient::PLAIN
    },
    Patient {
        id: Is("DEMO-0003"),
        name: Is("ｶｸｳ^ｼﾞﾛｳ=架空^次郎=かくう^じろう"),
        character_sets: &["ISO 2022 IR 13", "ISO 2022 IR 87"],
        birth_date: Is("19550101"),
        sex: Is("M"),
        studies: &[
            Study {
                date: Is("20191120"),
                time: Is("101500"),
                accession: Is("J3001"),
                description: Is("冠動脈造影"),
                series: &[
                    Series {
                        kind: Kind::Xa,
                        description: Is("ﾋﾀﾞﾘ ｶﾝﾄﾞｳﾐｬｸ"),
                        body_part: Is("HEART"),
                        frames: 12,
                        ..Series::PLAIN
                    },
                    Series { kind: Kind::Xa, body_part: Is("HEART"), frames: 8, ..Series::PLAIN },
                ],
                ..Study::PLAIN
            },
            Study {
                date: Is("20191121"),
                time: Is("111500"),
                accession: Is("J3002"),
                description: Is("心エコー"),
                syntax: Syntax::Rle,
                series: &[
                    Series { kind: Kind::UsMultiFrame, body_part: Is("HEART"), frames: 16, ..Series::PLAIN },
                    Series { kind: Kind::Us, body_part: Is("HEART"), instances: 2, ..Series::PLAIN },
                ],
                ..Study::PLAIN
            },
        ],
        ..Patient::PLAIN
    },
    Patient {
        id: Is("DEMO-0004"),
        name: Is("Вымышленный^Иван^Примерович"),
        character_sets: &["ISO_IR 144"],
        birth_date: Is("19880310"),
        sex: Is("M"),
        studies: &[
            Study {
                date: Is("20200229"),
                time: Is("120000"),
                zone: Is("+0300"),
                accession: Is("R4001"),
                description: Is("Рентген кисти"),
                series: &[Series {
                    kind: Kind::Dx,
                    description: Is("Правая кисть"),
                    body_part: Is("HAND"),
                    laterality: Is("R"),
                    instances: 2,
                    size: 128,
                    ..Series::PLAIN
                }],
                ..Study::PLAIN
            },
            Study {
                date: Is("20200301"),
                time: Is("070809"),
                zone: Is("+0300"),
                accession: Is("R4002"),
                description: Is("КТ головы"),
                procedures: &[codes::CT_OF_HEAD_LOCAL],
                series: &[Series { body_part: Is("HEAD"), instances: 7, ..Series::PLAIN }],
                ..Study::PLAIN
            },
        ],
        ..Patient::PLAIN
    },
    Patient {
        id: Is("DEMO-0005"),
        name: Is("Φανταστική^Ελένη"),
        character_sets: &["ISO_IR 126"],
        birth_date: Is("1960"),
        sex: Is("F"),
        studies: &[
            Study {
                date: Is("20230301"),
                time: Is("101010"),
                zone: Is("+0200"),
                accession: Is("G5001"),
                description: Is("Μαστογραφία"),
                procedures: &[codes::MAMMOGRAPHY],
                series: &[
                    Series {
                        kind: Kind::Mg,
                        description: Is("R CC"),
                        body_part: Is("codes::BREAST"),
                        laterality: Is("R"),
                        region: Some(codes::BREAST),
                        size: 128,
                        ..Series::PLAIN
                    },
                    Series {
                        kind: Kind::Mg,
                        description: Is("L CC"),
                        body_part: Is("codes::BREAST"),
                        laterality: Is("L"),
                        region: Some(codes::BREAST),
                        size: 128,
                        ..Series::PLAIN
                    },
                ],
                ..Study::PLAIN
            },
            Study {
                date: Is("20230302"),
                time: Is("101010"),
                zone: Is("+0200"),
                accession: Is("G5002"),
                description: Is("Υπερηχογράφημα μαστού"),
                series: &[Series {
                    kind: Kind::Us,
                    body_part: Is("codes::BREAST"),
                    laterality: Is("B"),
                    instances: 3,
                    ..Series::PLAIN
                }],
                ..Study::PLAIN
            },
        ],
        ..Patient::PLAIN
    },
    Patient {
        id: Is("DEMO-0006"),
        name: Is("Gasang^Minjun=假想^民俊=가상^민준"),
        character_sets: &["", "ISO 2022 IR 149"],
        birth_date: Is("19911231"),
        sex: Is("M"),
        studies: &[
            Study {
                date: Is("20221001"),
                time: Is("083000"),
                zone: Is("+0900"),
                accession: Is("K6001"),
                description: Is("전신 PET/CT"),
                procedures: &[codes::PET_CT],
                series: &[
                    Series {
                        description: Is("CT 감쇠보정"),
                        body_part: Is("WHOLEBODY"),
                        instances: 9,
                        ..Series::PLAIN
                    },
                    Series {
                        kind: Kind::Pt,
                        description: Is("PET"),
                        body_part: Is("WHOLEBODY"),
                        instances: 9,
                        ..Series::PLAIN
                    },
                ],
                ..Study::PLAIN
            },
            Study {
                date: Is("20221115"),
                time: Is("090000"),
                accession: Is("K6002"),
                description: Is("흉부 X선"),
                series: &[Series { kind: Kind::Dx, body_part: Is("CHEST"), size: 128, ..Series::PLAIN }],
                ..Study::PLAIN
            },
        ],
        ..Patient::PLAIN
    },
    Patient {
        id: Is("DEMO-0007"),
        name: Is("Muster-Müßig^Jürgen^François^Prof.^Jr."),
        character_sets: &["ISO_IR 100"],
        birth_date: Is("19450508"),
        sex: Is("M"),
        studies: &[
            Study {
                date: Is("20180704"),
                time: Is("173000.5"),
                zone: Is("-0500"),
                accession: Is("L7001"),
                description: Is("Kniegelenk beidseits, Ganzaufnahme"),
                reason: Is("Übung für den Ernstfall"),
                series: &[
                    Series {
                        kind: Kind::Dx,
                        body_part: Is("codes::KNEE"),
                        laterality: Is("R"),
                        region: Some(codes::KNEE),
                        size: 128,
                        ..Series::PLAIN
                    },
                    Series {
                        kind: Kind::Dx,
                        body_part: Is("codes::KNEE"),
                        laterality: Is("L"),
                        region: Some(codes::KNEE),
                        size: 128,
                        ..Series::PLAIN
                    },
                ],
                ..Study::PLAIN
            },
            Study {
                // The day is known, the hour is not.
                date: Is("20180705"),
                time: Absent,
                accession: Is("L7002"),
                description: Is("Schädel nativ"),
                procedures: &[codes::CT_OF_HEAD],
                series: &[Series { body_part: Is("SKULL"), instances: 5, ..Series::PLAIN }],
                ..Study::PLAIN
            },
        ],
        ..Patient::PLAIN
    },
    Patient {
        id: Is("DEMO-0008"),
        issuer: Some(SOUTH),
        name: Is("Smyšlená^Šárka=想像^莎卡"),
        character_sets: &["ISO_IR 192"],
        birth_date: Is("20010911"),
        sex: Is("F"),
        studies: &[
            Study {
                date: Is("20231231"),
                time: Is("235900"),
                zone: Is("+0530"),
                accession: Is("U8001"),
                description: Is("MR páteře – bederní ✓"),
                procedures: &[codes::MR_OF_LUMBAR_SPINE],
                series: &[
                    Series { kind: Kind::Mr, body_part: Is("LSPINE"), instances: 6, ..Series::PLAIN },
                    Series { kind: Kind::Pr, description: Is("Měření"), ..Series::PLAIN },
                ],
                ..Study::PLAIN
            },
            Study {
                date: Is("20240101"),
                time: Is("000000"),
                zone: Is("+0530"),
                accession: Is("U8002"),
                description: Is("US břicha"),
                series: &[Series {
                    kind: Kind::UsMultiFrame,
                    body_part: Is("ABDOMEN"),
                    frames: 6,
                    ..Series::PLAIN
                }],
                ..Study::PLAIN
            },
        ],
    },
    // The same Patient ID from two issuers: two different people.
    Patient {
        id: Is("4711"),
        issuer: Some(NORTH),
        name: Is("Fictional^Frank"),
        birth_date: Is("19330606"),
        sex: Is("M"),
        studies: &[
            Study {
                date: Is("20170101"),
                time: Is("080000"),
                accession: Is("D4711"),
                accession_issuer: Some(NORTH_ORDERS),
                description: Is("CT Abdomen"),
                procedures: &[codes::CT_OF_ABDOMEN_SRT],
                series: &[Series { body_part: Is("ABDOMEN"), instances: 4, ..Series::PLAIN }],
                ..Study::PLAIN
            },
            Study {
                date: Is("20170202"),
                time: Is("080000"),
                accession: Is("D4712"),
                description: Is("Chest"),
                series: &[Series { kind: Kind::Cr, body_part: Is("CHEST"), size: 128, ..Series::PLAIN }],
                ..Study::PLAIN
            },
        ],
        ..Patient::PLAIN
    },
    Patient {
        id: Is("4711"),
        issuer: Some(SOUTH),
        name: Is("Imaginary^Isabel"),
        birth_date: Is("19990909"),
        sex: Is("F"),
        studies: &[Study {
            date: Is("20170101"),
            time: Is("090000"),
            accession: Is("D4711"),
            description: Is("US Thyroid"),
            series: &[Series { kind: Kind::Us, body_part: Is("THYROID"), instances: 2, ..Series::PLAIN }],
            ..Study::PLAIN
        }],
        ..Patient::PLAIN
    },
    // Identifiers that hold DICOM's wildcards, beside others that those would match.
    Patient {
        id: Is("P*1"),
        name: Is("Asterisk^Astrid"),
        birth_date: Is("19720202"),
        sex: Is("F"),
        studies: &[
            Study {
                date: Is("20160606"),
                time: Is("101112"),
                accession: Is("ACC*7"),
                description: Is("CT Pelvis"),
                series: &[Series { body_part: Is("PELVIS"), instances: 3, ..Series::PLAIN }],
                ..Study::PLAIN
            },
            Study {
                date: Is("20160607"),
                time: Is("101112"),
                accession: Is("ACC?7"),
                description: Is("Ankle"),
                series: &[Series {
                    kind: Kind::Dx,
                    body_part: Is("ANKLE"),
                    laterality: Is("L"),
                    size: 128,
                    ..Series::PLAIN
                }],
                ..Study::PLAIN
            },
        ],
        ..Patient::PLAIN
    },
    Patient {
        id: Is("P11"),
        name: Is("Lookalike^Leo"),
        birth_date: Is("19720203"),
        sex: Is("M"),
        studies: &[Study {
            date: Is("20160606"),
            time: Is("101113"),
            accession: Is("ACC17"),
            description: Is("CT Pelvis"),
            series: &[Series { body_part: Is("PELVIS"), instances: 3, ..Series::PLAIN }],
            ..Study::PLAIN
        }],
        ..Patient::PLAIN
    },
    Patient {
        id: Is("p11"),
        name: Is("Lookalike^Lower"),
        birth_date: Is("19720204"),
        sex: Is("M"),
        studies: &[Study {
            date: Is("20160608"),
            time: Is("101113"),
            accession: Is("acc17"),
            description: Is("CT Pelvis"),
            series: &[Series { body_part: Is("PELVIS"), instances: 2, ..Series::PLAIN }],
            ..Study::PLAIN
        }],
        ..Patient::PLAIN
    },
    // Of these little was recorded.
    Patient {
        id: Empty,
        name: Empty,
        birth_date: Absent,
        sex: Empty,
        studies: &[
            Study {
                date: Empty,
                time: Empty,
                accession: Absent,
                id: Absent,
                series: &[Series { body_part: Is("EXTREMITY"), with_modality: false, ..Series::PLAIN }],
                ..Study::PLAIN
            },
            Study {
                date: Absent,
                time: Absent,
                id: Empty,
                accession: Empty,
                referrer: Absent,
                series: &[Series { kind: Kind::Us, description: Empty, ..Series::PLAIN }],
                ..Study::PLAIN
            },
        ],
        ..Patient::PLAIN
    },
    Patient {
        id: Is("OLD-94"),
        name: Is("Relic^Rosa"),
        birth_date: Is("1921.12.24"),
        sex: Is("F"),
        studies: &[Study {
            // As ACR-NEMA wrote dates and times (PS3.5 6.2, notes to DA and TM).
            date: Is("1994.01.30"),
            time: Is("11:25:01"),
            accession: Is("X94"),
            description: Is("CT BRAIN"),
            series: &[Series { body_part: Is("BRAIN"), instances: 2, ..Series::PLAIN }],
            ..Study::PLAIN
        }],
        ..Patient::PLAIN
    },
    Patient {
        id: Is("DEMO-0016"),
        issuer: Some(NORTH),
        name: Is("Many^Slices"),
        birth_date: Is("19861112"),
        sex: Is("M"),
        studies: &[
            Study {
                date: Is("20240220"),
                time: Is("141516"),
                zone: Is("+0000"),
                accession: Is("A16001"),
                accession_issuer: Some(NORTH_ORDERS),
                description: Is("CT Angiography, thin slices"),
                procedures: &[codes::CT_ANGIOGRAPHY],
                series: &[
                    Series {
                        description: Is("CTA 0.6"),
                        body_part: Is("AORTA"),
                        instances: 220,
                        size: 16,
                        ..Series::PLAIN
                    },
                    Series {
                        description: Is("MPR cor"),
                        body_part: Is("AORTA"),
                        instances: 20,
                        size: 32,
                        ..Series::PLAIN
                    },
                ],
                ..Study::PLAIN
            },
            Study {
                date: Is("20240221"),
                time: Is("09"),
                accession: Is("A16002"),
                accession_issuer: Some(NORTH_ORDERS),
                description: Is("Report of an outside study"),
                series: &[
                    Series { kind: Kind::Cr, size: 32, ..Series::PLAIN },
                    Series { kind: Kind::Sr, ..Series::PLAIN },
                ],
                ..Study::PLAIN
            },
            Study {
                date: Is("20240301"),
                time: Is("120000"),
                zone: Is("-0330"),
                accession: Is("A16003"),
                description: Is("PET Brain"),
                series: &[Series { kind: Kind::Pt, body_part: Is("BRAIN"), instances: 5, ..Series::PLAIN }],
                ..Study::PLAIN
            },
        ],
        ..Patient::PLAIN
    },
];

//! Body Part Examined (0018,0015) as SNOMED CT concepts (PS3.16 Annex L, table L-1).

/// The code and its meaning; `None` for a term that the table does not know.
pub(crate) fn coded(term: &str) -> Option<(&'static str, &'static str)> {
    let term = term.trim().to_ascii_uppercase();
    let row = TERMS.binary_search_by_key(&term.as_str(), |(term, ..)| *term).ok()?;
    TERMS.get(row).map(|(_, code, meaning)| (*code, *meaning))
}

/// Defined term, SNOMED CT id, code meaning; sorted by term.
const TERMS: &[(&str, &str, &str)] = &[
    ("ABDOMEN", "818981001", "Abdomen"),
    ("BREAST", "76752008", "Breast"),
    ("CHEST", "816094009", "Chest"),
    ("CSPINE", "122494005", "Cervical spine"),
    ("HEAD", "69536005", "Head"),
    ("HEART", "80891009", "Heart"),
    ("KNEE", "72696002", "Knee"),
    ("LUNG", "39607008", "Lung"),
    ("PELVIS", "816092008", "Pelvis"),
    ("WRIST", "74670003", "Wrist joint"),
];

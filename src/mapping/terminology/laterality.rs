//! Laterality (PS3.16 CID 244): the enumerated values of (0020,0060) and (0020,0062) as SNOMED CT concepts.

/// Returns the code and its meaning; `None` if the text is not an enumerated value.
pub(crate) fn snomed_ct(term: &str) -> Option<(&'static str, &'static str)> {
    Some(match term.trim().to_ascii_uppercase().as_str() {
        "R" => ("24028007", "Right"),
        "L" => ("7771000", "Left"),
        "B" => ("51440002", "Bilateral"),
        "U" => ("66459002", "Unilateral"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_enumerated_values_have_codes() {
        assert_eq!(snomed_ct("r "), Some(("24028007", "Right")));
        assert_eq!(snomed_ct("LEFT"), None);
    }
}

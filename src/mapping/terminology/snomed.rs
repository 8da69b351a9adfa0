//! Validates identifiers of SNOMED CT (release format 2, "SCTID").

/// Whether `code` is the id of a concept: 6 to 18 digits, the partition identifier of concepts, and a valid Verhoeff check
/// digit.
pub(crate) fn is_concept_id(code: &str) -> bool {
    let digits = code.as_bytes();
    let partition = digits.len().checked_sub(3).and_then(|start| digits.get(start..start + 2));
    (6..=18).contains(&digits.len())
        && digits.iter().all(u8::is_ascii_digit)
        && digits.first() != Some(&b'0')
        && matches!(partition, Some(b"00" | b"10"))
        && has_valid_check_digit(digits)
}

/// Whether the Verhoeff check digit is valid: the product of all permuted digits in the dihedral group of order ten is the
/// identity.
fn has_valid_check_digit(digits: &[u8]) -> bool {
    let mut product = 0;
    for (position, digit) in digits.iter().rev().enumerate() {
        let mut digit = digit - b'0';
        for _ in 0..position % 8 {
            digit = permute(digit);
        }
        product = multiply(product, digit);
    }
    product == 0
}

/// Multiplies two elements of the group. The rotations are 0 to 4, the reflections 5 to 9.
fn multiply(left: u8, right: u8) -> u8 {
    match (left < 5, right < 5) {
        (true, true) => (left + right) % 5,
        (true, false) => (left + right) % 5 + 5,
        (false, true) => (left - right) % 5 + 5,
        (false, false) => (left + 5 - right) % 5,
    }
}

/// Applies the permutation of Verhoeff's algorithm.
fn permute(digit: u8) -> u8 {
    match digit {
        0 => 1,
        1 => 5,
        2 => 7,
        3 => 6,
        4 => 2,
        5 => 8,
        6 => 3,
        7 => 0,
        8 => 9,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concept_ids_of_snomed_ct_are_valid() {
        for id in ["816094009", "7771000", "111002", "1217257000", "51440002"] {
            assert!(is_concept_id(id), "{id}");
        }
    }

    #[test]
    fn ids_with_a_wrong_digit_or_two_swapped_digits_are_invalid() {
        for id in ["816094008", "816049009", "", "T-D3000", "12345", "0111002", "9999999999999999999"] {
            assert!(!is_concept_id(id), "{id}");
        }
    }

    #[test]
    fn a_description_id_is_not_a_concept_id() {
        // "Chest" as a description, not as a concept: the partition is 11.
        assert!(!is_concept_id("3754031018"));
    }
}

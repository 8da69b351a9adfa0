//! Resource ids (R4 datatypes#id). This module does not know which resources exist.

/// Whether `text` is a valid id: 1 to 64 letters, digits, hyphens and dots.
pub fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_has_at_most_64_characters_and_only_those_of_r4() {
        let longest = "a".repeat(64);
        assert!(is_id("1.2.840-A") && is_id(&longest) && !is_id(&format!("{longest}a")));
        for invalid in ["", "a b", "a_b", "a*", "é", "Patient/1"] {
            assert!(!is_id(invalid), "{invalid}");
        }
    }
}

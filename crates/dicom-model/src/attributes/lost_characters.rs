//! Characters that an archive has lost. Some archives convert rows to a character set that lacks characters of the objects, and omit or
//! replace these, while their metadata has all of them.

use super::Attributes;
use crate::{ComponentGroup, PersonName, Tag};

impl Attributes {
    /// Whether these attributes have the text of `complete` in `tag` without the characters outside ASCII, or with others in their
    /// place. A text that differs in other characters was not converted but changed.
    pub fn has_lost_characters_of(&self, complete: &Self, tag: Tag) -> bool {
        let (text, complete) = (self.joined_text(tag), complete.joined_text(tag));
        !complete.is_ascii() && text != complete && remaining(&text).eq(remaining(&complete))
    }

    /// Returns all texts and the components of all names in `tag`.
    fn joined_text(&self, tag: Tag) -> String {
        let names = self.names(tag).flat_map(PersonName::groups).flat_map(ComponentGroup::components);
        self.texts(tag).chain(names).collect::<Vec<_>>().join(" ")
    }
}

/// Returns the characters that no conversion changes: those of ASCII, except spaces and the replacement for a character.
fn remaining(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|character| character.is_ascii() && !matches!(character, ' ' | '?'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tags;

    fn attributes(name: &str, description: &str) -> Attributes {
        let json = serde_json::json!({
            "00100010": {"vr": "PN", "Value": [{"Alphabetic": name}]},
            "00081030": {"vr": "LO", "Value": [description]},
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn characters_outside_ascii_that_are_missing_or_replaced_are_lost() {
        let complete =
            attributes("M\u{fc}ller^J\u{fc}rg=\u{5c71}\u{7530}^\u{592a}\u{90ce}", "Sch\u{e4}del MR");
        for (name, description, has_lost) in [
            ("Mller^Jrg=^", "Schdel MR", true),
            ("M?ller^J?rg", "Sch?del MR", true),
            ("M\u{fffd}ller^J\u{fffd}rg", "Sch\u{c3}\u{a4}del MR", true),
            ("Mueller^Juerg", "Schaedel MR", false),
            ("Roe^J\u{fc}rg", "Knie", false),
            ("M\u{fc}ller^J\u{fc}rg=\u{5c71}\u{7530}^\u{592a}\u{90ce}", "Sch\u{e4}del MR", false),
        ] {
            let row = attributes(name, description);
            for tag in [tags::PATIENT_NAME, tags::STUDY_DESCRIPTION] {
                assert_eq!(row.has_lost_characters_of(&complete, tag), has_lost, "{row:?}");
            }
        }
        let ideographic = attributes("\u{5c71}\u{7530}", "");
        assert!(Attributes::default().has_lost_characters_of(&ideographic, tags::PATIENT_NAME));
        assert!(!attributes("Doe", "").has_lost_characters_of(&attributes("Doe^J?", ""), tags::PATIENT_NAME));
    }
}

//! How the scripted archive reads the keys of a search.

/// How the archive reads a list of Study Instance UIDs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UidLists {
    /// The list matches each of its UIDs (PS3.18 8.3.4.1).
    #[default]
    Standard,
    /// The list is read as one value, which matches nothing.
    OneValue,
    /// Only the first UID is read.
    FirstOnly,
    /// Only the first UIDs are read, at most this number.
    AtMost(usize),
    /// The search is rejected.
    Rejected,
}

/// The deviations of an archive from PS3.18. By default, it has none, but ignores all keys other than UIDs, Patient ID, Accession Number
/// and Study Date.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "the deviations are independent of each other")]
pub struct Dialect {
    /// How a list of Study Instance UIDs is read.
    pub uid_lists: UidLists,
    /// Searches for series and instances across studies are rejected with 501.
    pub lacks_searches_across_studies: bool,
    /// A key that occurs more than once is rejected with 400.
    pub rejects_repeated_keys: bool,
    /// Other keys than those that the archive reads are rejected with 400.
    pub rejects_unknown_keys: bool,
    /// Searches without a key are rejected with this status.
    pub rejects_unrestricted_with: Option<u16>,
    /// Every request gets this status.
    pub fails_with: Option<u16>,
    /// A search that matches nothing gets 404.
    pub not_found_without_match: bool,
    /// Whether Patient Name is read as a key, with wildcards.
    pub matches_names: bool,
    /// Whether percent-escapes are decoded; otherwise the escapes themselves are compared.
    pub decodes_escapes: bool,
}

/// The keys that the archive reads.
const KNOWN_KEYS: [&str; 10] = [
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "PatientID",
    "PatientName",
    "AccessionNumber",
    "StudyDate",
    "includefield",
    "limit",
    "offset",
];

impl Dialect {
    /// Returns the query as the archive reads it; `None` if it rejects the query.
    pub(super) fn read(self, query: &str) -> Option<String> {
        let pairs: Vec<(&str, &str)> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let is_repeated = |key: &str| pairs.iter().filter(|(other, _)| *other == key).count() > 1;
        let is_rejected = |(key, _): &(&str, &str)| {
            self.rejects_repeated_keys && is_repeated(key)
                || self.rejects_unknown_keys && !KNOWN_KEYS.contains(key)
        };
        if pairs.iter().any(is_rejected) {
            return None;
        }
        let mut read = Vec::new();
        for (key, value) in pairs {
            let value = if self.decodes_escapes { decode(value) } else { value.to_owned() };
            let value = match self.uid_lists {
                _ if key != "StudyInstanceUID" || !value.contains(',') => value,
                UidLists::Standard => value,
                UidLists::OneValue => value.replace(',', "\\"),
                UidLists::FirstOnly => first_values(&value, 1),
                UidLists::AtMost(count) => first_values(&value, count),
                UidLists::Rejected => return None,
            };
            read.push(format!("{key}={value}"));
        }
        Some(read.join("&"))
    }

    /// Whether `name` matches the key Patient Name, if the archive reads it.
    pub(super) fn matches_name(self, pattern: Option<&str>, name: &str) -> bool {
        let Some(pattern) = pattern.filter(|_| self.matches_names) else { return true };
        let (pattern, name) = (pattern.to_lowercase(), name.to_lowercase());
        let parts: Vec<&str> = pattern.split('*').collect();
        let [first, middle @ .., last] = parts.as_slice() else { return pattern == name };
        let Some(mut rest) = name.strip_prefix(first) else { return false };
        for part in middle {
            let Some(position) = rest.find(part) else { return false };
            rest = &rest[position + part.len()..];
        }
        rest.ends_with(last)
    }
}

fn first_values(list: &str, count: usize) -> String {
    list.split(',').take(count).collect::<Vec<_>>().join(",")
}

/// Decodes percent-escapes of ASCII characters.
fn decode(value: &str) -> String {
    let mut decoded = String::new();
    let mut rest = value;
    while let Some((before, escape)) = rest.split_once('%') {
        decoded.push_str(before);
        match escape.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if byte.is_ascii() => {
                decoded.push(char::from(byte));
                rest = &escape[2..];
            }
            _ => {
                decoded.push('%');
                rest = escape;
            }
        }
    }
    decoded + rest
}

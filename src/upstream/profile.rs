//! The quirks of archive products, as data.

use super::qido::IncludeStyle;

/// Where the instances of a series are read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DetailSource {
    /// WADO-RS `/metadata` of the series.
    Metadata,
    /// QIDO-RS at instance level.
    Qido,
}

/// A service that the gateway synthesizes from an archive's other services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Synthesized {
    /// `/metadata`, and the bulk data that it refers to, from the instances.
    Metadata,
    /// `/rendered` and `/thumbnail`, from the instances.
    Rendered,
    /// Attributes of search results that describe the levels below: counts and modalities, from further searches.
    Counts,
    /// UIDs of the study and series that a search result belongs to, from the path of the search.
    Parents,
}

impl Synthesized {
    /// Every value, with its name in the configuration.
    pub const NAMES: [(&'static str, Self); 4] = [
        ("metadata", Self::Metadata),
        ("rendered", Self::Rendered),
        ("counts", Self::Counts),
        ("parents", Self::Parents),
    ];
}

/// A set of [`Synthesized`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct SynthesizedSet(u8);

impl SynthesizedSet {
    /// The empty set.
    pub const NONE: Self = Self(0);

    /// This set and `synthesized`.
    #[must_use]
    pub const fn with(self, synthesized: Synthesized) -> Self {
        Self(self.0 | 1 << synthesized as u8)
    }

    /// Whether the set contains `synthesized`.
    pub const fn has(self, synthesized: Synthesized) -> bool {
        self.0 & 1 << synthesized as u8 != 0
    }
}

/// The quirks of one archive product. The defaults rely only on what the standard guarantees.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each quirk is there or not, whatever the others are")]
pub struct Profile {
    /// The name in the configuration.
    pub name: &'static str,
    /// A page with fewer rows than requested is the last one.
    pub paging_is_reliable: bool,
    /// How several attributes are requested with `includefield`: as a repeated key, or as a list only.
    pub include_style: IncludeStyle,
    /// A study search answered with 404 means that nothing matches, not that the URL is wrong.
    pub not_found_means_no_match: bool,
    /// The first source of instances; the other one is used when this one fails or is incomplete.
    pub detail: DetailSource,
    /// Complete multipart responses may lack the closing delimiter when frames are requested without numbers.
    pub open_ended_frames: bool,
    /// Values keep the padding blank of a file whose VR the archive's reader does not know. Such a value is found by a wildcard
    /// only; the archive supports wildcards.
    pub keeps_padding: bool,
    /// Percent-escapes in a query are decoded (RFC 3986 2.1). An archive that does not decode them finds nothing for a value
    /// that has to be escaped.
    pub decodes_escapes: bool,
    /// A comma-separated list of UIDs is understood as "any of them" (PS3.18 8.3.4.1).
    pub uid_lists: bool,
    /// All series and all instances can be searched, not only those of one study (PS3.18 table 10.6.1-1), and an empty result
    /// means that there are none.
    pub searches_below: bool,
    /// Services that the archive lacks or implements badly, so that the gateway never requests them. A service that the archive
    /// merely rejects is not listed here: the gateway synthesizes it after the rejection.
    pub synthesized: SynthesizedSet,
}

/// All profiles, the default first.
pub const PROFILES: &[Profile] = &[
    Profile {
        name: "generic",
        paging_is_reliable: false,
        include_style: IncludeStyle::Repeated,
        not_found_means_no_match: false,
        detail: DetailSource::Metadata,
        open_ended_frames: false,
        keeps_padding: false,
        decodes_escapes: true,
        uid_lists: true,
        searches_below: false,
        synthesized: SynthesizedSet::NONE,
    },
    // Metadata is read from a prepared attachment, 3 to 20 times faster than rows of instances. A short page is the last one,
    // unless the server limits its results; then paging does not return the rest either. The versions in long-term
    // distributions (1.10 to 1.12) do not decode percent-escapes; newer versions do.
    Profile {
        name: "orthanc",
        paging_is_reliable: true,
        include_style: IncludeStyle::Repeated,
        not_found_means_no_match: false,
        detail: DetailSource::Metadata,
        open_ended_frames: true,
        keeps_padding: true,
        decodes_escapes: false,
        uid_lists: true,
        searches_below: true,
        synthesized: SynthesizedSet::NONE,
    },
    // Metadata makes it fetch every pixel by C-MOVE, and is always returned for the whole study. A repeated key is rejected.
    // Rows of series and instances lack the UIDs of their parents.
    Profile {
        name: "dicom-rst",
        paging_is_reliable: false,
        include_style: IncludeStyle::List,
        not_found_means_no_match: false,
        detail: DetailSource::Qido,
        open_ended_frames: false,
        keeps_padding: false,
        decodes_escapes: true,
        uid_lists: false,
        searches_below: false,
        synthesized: SynthesizedSet::NONE.with(Synthesized::Parents),
    },
    Profile {
        name: "static-dicomweb",
        paging_is_reliable: false,
        include_style: IncludeStyle::Repeated,
        not_found_means_no_match: true,
        detail: DetailSource::Metadata,
        open_ended_frames: false,
        keeps_padding: false,
        decodes_escapes: true,
        uid_lists: true,
        searches_below: false,
        synthesized: SynthesizedSet::NONE,
    },
    // A repeated key is answered with status 500, and rows of instances hold nothing but UIDs.
    Profile {
        name: "dicomweb-proxy",
        paging_is_reliable: false,
        include_style: IncludeStyle::List,
        not_found_means_no_match: false,
        detail: DetailSource::Metadata,
        open_ended_frames: false,
        keeps_padding: false,
        decodes_escapes: true,
        uid_lists: false,
        searches_below: false,
        synthesized: SynthesizedSet::NONE,
    },
    Profile {
        name: "google",
        paging_is_reliable: false,
        include_style: IncludeStyle::Repeated,
        not_found_means_no_match: false,
        detail: DetailSource::Metadata,
        open_ended_frames: false,
        keeps_padding: false,
        decodes_escapes: true,
        uid_lists: true,
        searches_below: true,
        synthesized: SynthesizedSet::NONE,
    },
];

impl Profile {
    /// The profile with that name in the configuration.
    pub fn named(name: &str) -> Option<Self> {
        PROFILES.iter().find(|profile| profile.name == name).cloned()
    }

    /// The sources of instances, in the order in which they are used.
    pub fn detail_sources(&self) -> [DetailSource; 2] {
        match self.detail {
            DetailSource::Metadata => [DetailSource::Metadata, DetailSource::Qido],
            DetailSource::Qido => [DetailSource::Qido, DetailSource::Metadata],
        }
    }
}

impl Default for Profile {
    fn default() -> Self {
        PROFILES[0].clone()
    }
}

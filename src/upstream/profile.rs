//! What is peculiar to a brand of archive, as data.

use super::qido::IncludeStyle;

/// Where the instances of a series are read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DetailSource {
    /// WADO-RS `/metadata` of the series.
    Metadata,
    /// QIDO-RS at instance level.
    Qido,
}

/// A service that the gateway makes out of an archive's other ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Synthesized {
    /// `/metadata`, and the large values that they point at, out of the instances.
    Metadata,
    /// `/rendered` and `/thumbnail`, out of the instances.
    Rendered,
    /// What rows of a search tell of what lies below: counts and modalities, out of further searches.
    Counts,
    /// The UIDs of what rows lie below, out of the address that was searched.
    Parents,
}

impl Synthesized {
    /// Each, as configuration names it.
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
    /// None.
    pub const NONE: Self = Self(0);

    /// This set with `supply` in it.
    #[must_use]
    pub const fn with(self, supply: Synthesized) -> Self {
        Self(self.0 | 1 << supply as u8)
    }

    /// Whether `supply` is in it.
    pub const fn has(self, supply: Synthesized) -> bool {
        self.0 & 1 << supply as u8 != 0
    }
}

/// An archive's quirks. The defaults trust nothing that the standard does not promise.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each quirk is there or not, whatever the others are")]
pub struct Profile {
    /// As configuration names it.
    pub name: &'static str,
    /// A page with fewer rows than were asked for is the last one.
    pub paging_is_reliable: bool,
    /// A repeated `includefield` key is understood, or only a list.
    pub include_style: IncludeStyle,
    /// A study search answered with 404 means that nothing matches, not that the address is wrong.
    pub not_found_means_no_match: bool,
    /// Asked first for instances; the other source is asked when this one fails or falls short.
    pub detail: DetailSource,
    /// Complete answers are known to end without the closing delimiter when frames are asked for without numbers.
    pub open_ended_frames: bool,
    /// Values are kept with the blank that pads them where a file does so under a VR that its reader does not know, and are
    /// then found by a pattern only; patterns are understood.
    pub keeps_padding: bool,
    /// Percent-escapes in a query are decoded (RFC 3986 2.1). Where they are not, what has to be escaped finds nothing.
    pub decodes_escapes: bool,
    /// A comma-separated list of UIDs is understood as "any of them".
    pub uid_lists: bool,
    /// All series and all instances can be searched, not only those of a study (PS3.18 table 10.6.1-1): nothing found so is
    /// nothing there.
    pub searches_below: bool,
    /// What it lacks or does badly, so that the gateway never asks for it. A service that it only refuses need not stand
    /// here: the gateway makes that after the refusal.
    pub supplied: SynthesizedSet,
}

/// The profiles that there are, the default first.
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
        supplied: SynthesizedSet::NONE,
    },
    // Metadata come from a ready-made attachment, 3 to 20 times faster than rows of instances. A short page is the last
    // one, unless the server limits its answers: then the rest cannot be had by paging either. As long-term distributions have
    // it (1.10 to 1.12), it does not decode percent-escapes; newer ones do.
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
        supplied: SynthesizedSet::NONE,
    },
    // Metadata make it fetch every pixel by C-MOVE, and come for the whole study whatever was asked for. A repeated key
    // is refused. Rows of series and instances lack the UIDs of what they belong to.
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
        supplied: SynthesizedSet::NONE.with(Synthesized::Parents),
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
        supplied: SynthesizedSet::NONE,
    },
    // A repeated key is answered with "500", and rows of instances hold nothing but UIDs.
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
        supplied: SynthesizedSet::NONE,
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
        supplied: SynthesizedSet::NONE,
    },
];

impl Profile {
    /// The profile that configuration calls `name`.
    pub fn named(name: &str) -> Option<Self> {
        PROFILES.iter().find(|profile| profile.name == name).cloned()
    }

    /// The sources of instances in the order in which they are asked.
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

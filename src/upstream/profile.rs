//! The quirks of archive products, as data.

use super::qido::{IncludeStyle, QidoQuery};
use dicom_model::tags;

/// The source of detail: what the gateway reads the instances of a series from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DetailSource {
    /// WADO-RS `/metadata` of the series.
    Metadata,
    /// QIDO-RS at instance level.
    Qido,
}

/// A service that the gateway synthesizes from other services of the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Synthesized {
    /// `/metadata` and the bulk data that it refers to, synthesized from the instances.
    Metadata,
    /// `/frames`, synthesized from the instances.
    Frames,
    /// `/rendered` and `/thumbnail`, synthesized from the instances.
    Rendered,
    /// Counts and modalities in search results, synthesized from searches at the lower levels.
    Counts,
    /// UIDs of the study and series in search results, synthesized from the path of the search.
    Parents,
}

impl Synthesized {
    /// All values, each with its name in the configuration.
    pub const NAMES: [(&'static str, Self); 5] = [
        ("metadata", Self::Metadata),
        ("frames", Self::Frames),
        ("rendered", Self::Rendered),
        ("counts", Self::Counts),
        ("parents", Self::Parents),
    ];
}

/// A set of services that the gateway synthesizes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct SynthesizedSet(u8);

impl SynthesizedSet {
    /// The empty set.
    pub const NONE: Self = Self(0);

    /// Returns this set with `synthesized` added.
    #[must_use]
    pub const fn with(self, synthesized: Synthesized) -> Self {
        Self(self.0 | 1 << synthesized as u8)
    }

    /// Whether the set contains `synthesized`.
    pub const fn contains(self, synthesized: Synthesized) -> bool {
        self.0 & 1 << synthesized as u8 != 0
    }
}

/// The maximum number of UIDs in one query to an archive that supports lists of UIDs. Its request line then has about 3 kB.
pub const MAX_UIDS_PER_QUERY: usize = 50;

/// The quirks of one archive product. The default profile, `auto`, relies only on what the archive has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "the quirks are independent of each other")]
pub struct Profile {
    /// The name in the configuration.
    pub name: &'static str,
    /// Whether the gateway finds out what the profile does not state ([`ProbeFindings`](super::ProbeFindings)).
    pub is_probed: bool,
    /// A page with fewer rows than requested, and with fewer than this number, is the last page.
    pub short_page_limit: usize,
    /// The form in which several attributes are requested with `includefield`.
    pub include_style: IncludeStyle,
    /// Whether 404 in response to a study search means that no study matches, not that the URL is wrong.
    pub not_found_means_no_match: bool,
    /// The preferred detail source; the other source is used if this one fails or is incomplete.
    pub detail: DetailSource,
    /// Whether complete multipart responses may lack the closing delimiter if frames are requested without numbers.
    pub open_ended_frames: bool,
    /// Whether the archive may store values with the padding space if its parser does not know the VR. Such a value matches only
    /// a wildcard.
    pub keeps_padding: bool,
    /// Whether percent-escapes in a query are decoded (RFC 3986 2.1). In an archive that does not decode them, a value that
    /// has to be escaped matches nothing.
    pub decodes_escapes: bool,
    /// Whether a comma-separated list of UIDs matches each of them (PS3.18 8.3.4.1).
    pub uid_lists: bool,
    /// Whether it is worth while to search for the series of several studies with such a list. If the archive rejects the search, or the
    /// series of a study are incomplete, they are searched for study by study.
    pub series_by_uid_lists: bool,
    /// Whether all series and all instances can be searched, not only those of one study (PS3.18 table 10.6.1-1), and an empty
    /// result means that none match.
    pub searches_across_studies: bool,
    /// Whether the REST API of the product has a change feed.
    pub has_change_feed: bool,
    /// Services that the archive lacks or implements incorrectly, so the gateway never requests them. A service that the archive
    /// rejects is not listed here: the gateway synthesizes it after the rejection.
    pub synthesized: SynthesizedSet,
}

/// The `short_page_limit` of archives of which no page is known to be the last one.
const NO_SHORT_PAGE: usize = 0;

/// The `short_page_limit` of archives of which every page with fewer rows than requested is the last one.
const EVERY_SHORT_PAGE: usize = usize::MAX;

/// All profiles. The default profile is the first one.
pub const PROFILES: &[Profile] = &[
    // What the gateway relies on until it has found out more.
    Profile {
        name: "auto",
        is_probed: true,
        short_page_limit: NO_SHORT_PAGE,
        include_style: IncludeStyle::Repeated,
        not_found_means_no_match: false,
        detail: DetailSource::Metadata,
        open_ended_frames: false,
        keeps_padding: true,
        decodes_escapes: false,
        uid_lists: false,
        series_by_uid_lists: false,
        searches_across_studies: false,
        has_change_feed: false,
        synthesized: SynthesizedSet::NONE,
    },
    // What the standard guarantees.
    Profile {
        name: "generic",
        is_probed: false,
        short_page_limit: NO_SHORT_PAGE,
        include_style: IncludeStyle::Repeated,
        not_found_means_no_match: false,
        detail: DetailSource::Metadata,
        open_ended_frames: false,
        keeps_padding: true,
        decodes_escapes: true,
        uid_lists: true,
        series_by_uid_lists: true,
        searches_across_studies: false,
        has_change_feed: false,
        synthesized: SynthesizedSet::NONE,
    },
    // Metadata is read from a prepared attachment, 3 to 20 times faster than rows of instances. A short page is the last page,
    // unless the server limits its results; then paging does not return the rest either. The versions in long-term
    // distributions (1.10 to 1.12) do not decode percent-escapes; newer versions do. Rendered images are stretched to the viewport, and
    // are wrong for linear-exact windows and for some windows that the image contains.
    Profile {
        name: "orthanc",
        is_probed: false,
        short_page_limit: EVERY_SHORT_PAGE,
        include_style: IncludeStyle::Repeated,
        not_found_means_no_match: false,
        detail: DetailSource::Metadata,
        open_ended_frames: true,
        keeps_padding: true,
        decodes_escapes: false,
        uid_lists: true,
        series_by_uid_lists: true,
        searches_across_studies: true,
        has_change_feed: true,
        synthesized: SynthesizedSet::NONE.with(Synthesized::Rendered),
    },
    // For metadata the product fetches whole instances by C-MOVE, and it always returns the metadata of the whole study. It
    // rejects a repeated key. Rows of series and instances lack the UIDs of study and series.
    Profile {
        name: "dicom-rst",
        is_probed: false,
        short_page_limit: NO_SHORT_PAGE,
        include_style: IncludeStyle::List,
        not_found_means_no_match: false,
        detail: DetailSource::Qido,
        open_ended_frames: false,
        keeps_padding: false,
        decodes_escapes: true,
        uid_lists: false,
        series_by_uid_lists: false,
        searches_across_studies: false,
        has_change_feed: false,
        synthesized: SynthesizedSet::NONE.with(Synthesized::Parents).with(Synthesized::Frames),
    },
    Profile {
        name: "static-dicomweb",
        is_probed: false,
        short_page_limit: NO_SHORT_PAGE,
        include_style: IncludeStyle::Repeated,
        not_found_means_no_match: true,
        detail: DetailSource::Metadata,
        open_ended_frames: false,
        keeps_padding: false,
        decodes_escapes: true,
        uid_lists: true,
        series_by_uid_lists: true,
        searches_across_studies: false,
        has_change_feed: false,
        synthesized: SynthesizedSet::NONE,
    },
    // A repeated key causes status 500, and rows of instances contain only UIDs.
    Profile {
        name: "dicomweb-proxy",
        is_probed: false,
        short_page_limit: NO_SHORT_PAGE,
        include_style: IncludeStyle::List,
        not_found_means_no_match: false,
        detail: DetailSource::Metadata,
        open_ended_frames: false,
        keeps_padding: false,
        decodes_escapes: true,
        uid_lists: false,
        series_by_uid_lists: false,
        searches_across_studies: false,
        has_change_feed: false,
        synthesized: SynthesizedSet::NONE,
    },
    Profile {
        name: "google",
        is_probed: false,
        short_page_limit: NO_SHORT_PAGE,
        include_style: IncludeStyle::Repeated,
        not_found_means_no_match: false,
        detail: DetailSource::Metadata,
        open_ended_frames: false,
        keeps_padding: false,
        decodes_escapes: true,
        uid_lists: true,
        series_by_uid_lists: true,
        searches_across_studies: true,
        has_change_feed: false,
        synthesized: SynthesizedSet::NONE,
    },
];

impl Profile {
    /// Returns the profile with `name`.
    pub fn find(name: &str) -> Option<Self> {
        PROFILES.iter().find(|profile| profile.name == name).copied()
    }

    /// Returns the maximum number of UIDs in one query.
    pub fn max_uids_per_query(&self) -> usize {
        if self.uid_lists { MAX_UIDS_PER_QUERY } else { 1 }
    }

    /// Returns the maximum number of UIDs in one query of a DICOMweb client, whose answer does not show whether the archive has read a list
    /// as a list.
    pub fn max_uids_per_client_query(&self) -> usize {
        if self.is_probed { 1 } else { self.max_uids_per_query() }
    }

    /// Whether a page of `query` with `row_count` rows, fewer than requested, is the last page.
    pub fn is_last_page(&self, query: &QidoQuery, row_count: usize) -> bool {
        // Many archives compute the modalities after they have limited the rows.
        let is_filtered_afterwards = self.is_probed && query.is_matching(tags::MODALITIES_IN_STUDY);
        row_count < self.short_page_limit && !is_filtered_afterwards
    }

    /// Returns the detail sources in the order of preference.
    pub fn detail_sources(&self) -> [DetailSource; 2] {
        match self.detail {
            DetailSource::Metadata => [DetailSource::Metadata, DetailSource::Qido],
            DetailSource::Qido => [DetailSource::Qido, DetailSource::Metadata],
        }
    }
}

impl Default for Profile {
    fn default() -> Self {
        PROFILES[0]
    }
}

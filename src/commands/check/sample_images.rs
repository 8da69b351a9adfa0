//! Finds one image of each kind among the first studies of an archive, from rows and metadata, with a bounded number of requests.
//! Images that would be expensive to render are skipped.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::Duration;

use crate::upstream::{Archive, DicomResource, QidoQuery, Retrieval, SearchLevel, UpstreamRequest};
use dicom_model::{Attributes, SeriesUid, SopInstanceUid, StudyUid, Tag, tags};

/// Maximum number of studies that are searched.
const MAX_STUDIES: usize = 16;

/// Maximum number of series whose first instance is inspected. A study has one for each of its modalities.
const MAX_SERIES: usize = 24;

/// Maximum number of rows that are read of one list of series.
const MAX_SERIES_ROWS: usize = 100;

/// Maximum time for the search, so that the images of a slow archive that have been found can still be compared.
const MAX_SEARCH_DURATION: Duration = Duration::from_secs(20);

/// Maximum number of pixels of a frame.
const MAX_PIXELS: i64 = 1 << 24;

/// Maximum size of the uncompressed pixel data of an object in bytes.
const MAX_PIXEL_DATA_LEN: i64 = 1 << 25;

/// The attributes that determine the kind of an image and the windows to request.
const IMAGE_TAGS: [Tag; 13] = [
    tags::PHOTOMETRIC_INTERPRETATION,
    tags::SAMPLES_PER_PIXEL,
    tags::NUMBER_OF_FRAMES,
    tags::ROWS,
    tags::COLUMNS,
    tags::BITS_ALLOCATED,
    tags::BITS_STORED,
    tags::PIXEL_REPRESENTATION,
    tags::WINDOW_CENTER,
    tags::WINDOW_WIDTH,
    tags::VOILUT_SEQUENCE,
    tags::RESCALE_INTERCEPT,
    tags::RESCALE_SLOPE,
];

/// The kinds of images that archives render by different rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SampleKind {
    /// One frame, MONOCHROME1.
    Monochrome1,
    /// One frame, MONOCHROME2.
    Monochrome2,
    /// One frame, of RGB, YBR or palette color.
    Color,
    /// Several frames.
    MultiFrame,
}

impl SampleKind {
    const COUNT: usize = 4;
}

/// An image to compare.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SampleImage {
    pub(super) kind: SampleKind,
    pub(super) study: StudyUid,
    pub(super) series: SeriesUid,
    pub(super) instance: SopInstanceUid,
    pub(super) is_monochrome: bool,
    pub(super) rows: i64,
    pub(super) columns: i64,
    /// The center and width of the window of the image; `None` if it has none, or alternatives from which a renderer may choose.
    pub(super) window: Option<(f64, f64)>,
    /// The centers and widths of windows that may be requested.
    pub(super) other_windows: Vec<(f64, f64)>,
}

impl SampleImage {
    /// Returns the image that `object` describes; `None` if it is not an image of one of the kinds, or too expensive.
    fn from_attributes(
        study: &StudyUid,
        series: &SeriesUid,
        instance: SopInstanceUid,
        object: &Attributes,
    ) -> Option<Self> {
        let number = |tag, default| object.integer(tag).or(default).filter(|number| *number > 0);
        let (rows, columns) = (number(tags::ROWS, None)?, number(tags::COLUMNS, None)?);
        let (samples, frames) =
            (number(tags::SAMPLES_PER_PIXEL, Some(1))?, number(tags::NUMBER_OF_FRAMES, Some(1))?);
        // Other sizes are those of segmentations and doses, which have no rules for a rendered image.
        let bits = number(tags::BITS_ALLOCATED, None).filter(|bits| matches!(bits, 8 | 16))?;
        let pixels = rows.checked_mul(columns).filter(|pixels| *pixels <= MAX_PIXELS)?;
        let sample_count = pixels.checked_mul(samples).and_then(|count| count.checked_mul(frames))?;
        let len = sample_count.checked_mul(bits / 8)?;
        let photometric_interpretation = object.text(tags::PHOTOMETRIC_INTERPRETATION)?;
        let kind = match photometric_interpretation {
            _ if frames > 1 => SampleKind::MultiFrame,
            "MONOCHROME1" => SampleKind::Monochrome1,
            "MONOCHROME2" => SampleKind::Monochrome2,
            _ => SampleKind::Color,
        };
        let window = only_window(object);
        (len <= MAX_PIXEL_DATA_LEN).then(|| Self {
            kind,
            study: study.clone(),
            series: series.clone(),
            instance,
            is_monochrome: photometric_interpretation.starts_with("MONOCHROME"),
            rows,
            columns,
            window,
            other_windows: other_windows(object, window),
        })
    }

    /// Whether an image of the same kind is not searched any further.
    fn is_preferred(&self) -> bool {
        self.window.is_some() || !matches!(self.kind, SampleKind::Monochrome1 | SampleKind::Monochrome2)
    }

    /// Returns the instance as a resource.
    pub(super) fn instance_resource(&self) -> DicomResource {
        DicomResource::Instance(self.study.clone(), self.series.clone(), self.instance.clone())
    }

    /// Returns the first frame as a resource.
    pub(super) fn frame_resource(&self) -> DicomResource {
        DicomResource::Frames(self.study.clone(), self.series.clone(), self.instance.clone(), vec![1])
    }
}

fn decimal(object: &Attributes, tag: Tag) -> Option<f64> {
    object.text(tag).and_then(|text| text.trim().parse().ok()).filter(|number: &f64| number.is_finite())
}

/// Returns the window of the image. If there are several, or a VOI LUT, a renderer may choose any of them (PS3.3 C.11.2.1), so the result
/// is `None`.
fn only_window(object: &Attributes) -> Option<(f64, f64)> {
    let is_only = object.texts(tags::WINDOW_CENTER).count() == 1
        && object.texts(tags::WINDOW_WIDTH).count() == 1
        && object.items(tags::VOILUT_SEQUENCE).next().is_none();
    let window = (decimal(object, tags::WINDOW_CENTER)?, decimal(object, tags::WINDOW_WIDTH)?);
    (is_only && window.1 >= 1.0).then_some(window)
}

/// Returns windows other than `window`: narrower ones at its center and its edges, or if there is none, parts of the stored range.
fn other_windows(object: &Attributes, window: Option<(f64, f64)>) -> Vec<(f64, f64)> {
    if let Some((center, width)) = window {
        let (half, quarter) = ((width / 2.0).round(), (width / 4.0).round());
        return vec![(center, half), (center - quarter, half), (center + quarter, half)];
    }
    let bits = object.integer(tags::BITS_STORED).filter(|bits| (1..=16).contains(bits)).unwrap_or(8);
    let is_signed = object.integer(tags::PIXEL_REPRESENTATION) == Some(1);
    let slope = decimal(object, tags::RESCALE_SLOPE).unwrap_or(1.0);
    let intercept = decimal(object, tags::RESCALE_INTERCEPT).unwrap_or(0.0);
    let parts =
        (0..5).filter_map(|halvings| bits.checked_sub(halvings)).filter_map(|bits| u32::try_from(bits).ok());
    parts
        .map(|bits| {
            let width = f64::from(1_u32 << bits);
            let center = if is_signed { 0.0 } else { width / 2.0 };
            (center * slope + intercept, width * slope.abs())
        })
        .collect()
}

/// Returns the first image of each kind in the first of `studies`; of single grayscale frames, preferably the first with one window,
/// which shows whether the archive applies it. Requests that fail find nothing.
pub(super) async fn find(archive: &Archive, studies: &[StudyUid]) -> BTreeMap<SampleKind, SampleImage> {
    let mut images = BTreeMap::new();
    // What was found before the time is over is compared.
    let _ = tokio::time::timeout(MAX_SEARCH_DURATION, add_images(&mut images, archive, studies)).await;
    images
}

/// Adds the images until one of each kind is found, or the maximum number of series has been inspected.
async fn add_images(images: &mut BTreeMap<SampleKind, SampleImage>, archive: &Archive, studies: &[StudyUid]) {
    let mut series_count = 0;
    for study in studies.iter().take(MAX_STUDIES) {
        for series in series_of_each_modality(archive, study).await {
            let is_complete =
                images.len() == SampleKind::COUNT && images.values().all(SampleImage::is_preferred);
            if is_complete || series_count == MAX_SERIES {
                return;
            }
            series_count += 1;
            if let Some(image) = first_image(archive, study, &series).await {
                let is_better = |known: &SampleImage| image.is_preferred() && !known.is_preferred();
                if images.get(&image.kind).is_none_or(is_better) {
                    images.insert(image.kind, image);
                }
            }
        }
    }
}

/// Returns the first series of each modality of `study`.
async fn series_of_each_modality(archive: &Archive, study: &StudyUid) -> Vec<SeriesUid> {
    let (mut modalities, mut series, mut row_count) = (BTreeSet::new(), Vec::new(), 0);
    let add = |row: Attributes| {
        let uid = row.text(tags::SERIES_INSTANCE_UID);
        let uid = uid.and_then(|uid| SeriesUid::parse_by(archive.uid_rule(), uid).ok());
        if let Some(uid) = uid
            && modalities.insert(row.text(tags::MODALITY).map(str::to_owned))
        {
            series.push(uid);
        }
        row_count += 1;
        break_if(row_count == MAX_SERIES_ROWS)
    };
    let query = QidoQuery::new(SearchLevel::Series { study: study.clone() });
    // An error that follows some rows does not make these rows useless here.
    let _ = archive.read_rows_until(UpstreamRequest::search(query), add).await;
    series
}

/// Returns the first instance of `series`, if it is an image.
async fn first_image(archive: &Archive, study: &StudyUid, series: &SeriesUid) -> Option<SampleImage> {
    let level = SearchLevel::SeriesInstances { study: study.clone(), series: series.clone() };
    let query = QidoQuery::new(level).include(&IMAGE_TAGS).page(1, 0);
    let row = read_first(archive, UpstreamRequest::search(query), |_| true).await?;
    let uid = row.text(tags::SOP_INSTANCE_UID)?.to_owned();
    let instance = SopInstanceUid::parse_by(archive.uid_rule(), &uid).ok()?;
    let has_window = [tags::WINDOW_CENTER, tags::WINDOW_WIDTH].iter().all(|tag| row.contains(*tag));
    // Many archives return only a few attributes in rows.
    let object = if row.contains(tags::PHOTOMETRIC_INTERPRETATION) && has_window {
        row
    } else {
        let resource = DicomResource::Instance(study.clone(), series.clone(), instance.clone());
        let metadata = UpstreamRequest::retrieve(Retrieval::metadata(resource));
        let is_instance = |object: &Attributes| object.text(tags::SOP_INSTANCE_UID) == Some(&uid);
        read_first(archive, metadata, is_instance).await?
    };
    SampleImage::from_attributes(study, series, instance, &object)
}

/// Returns the first object of the response that `is_wanted`. The rest of the response is not read.
pub(super) async fn read_first(
    archive: &Archive,
    request: UpstreamRequest,
    is_wanted: impl Fn(&Attributes) -> bool + Send,
) -> Option<Attributes> {
    let (mut found, mut count) = (None, 0);
    let add = |object: Attributes| {
        count += 1;
        found = Some(object).filter(&is_wanted);
        break_if(found.is_some() || count == MAX_SERIES_ROWS)
    };
    let _ = archive.read_rows_until(request, add).await;
    found
}

fn break_if(is_end: bool) -> ControlFlow<()> {
    if is_end { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dicom_model::{Element, Value};

    fn attributes_with(values: &[(Tag, &[&str])]) -> Attributes {
        let mut object = Attributes::default();
        let usual: [(Tag, &[&str]); 4] = [
            (tags::PHOTOMETRIC_INTERPRETATION, &["MONOCHROME2"]),
            (tags::ROWS, &["512"]),
            (tags::COLUMNS, &["512"]),
            (tags::BITS_ALLOCATED, &["16"]),
        ];
        for (tag, texts) in usual.iter().chain(values) {
            let values = texts.iter().map(|text| Value::Text((*text).into())).collect();
            object.insert(*tag, Element { values });
        }
        object
    }

    fn image_with(values: &[(Tag, &[&str])]) -> Option<SampleImage> {
        SampleImage::from_attributes(
            &StudyUid::parse("1.2").unwrap(),
            &SeriesUid::parse("1.2.3").unwrap(),
            SopInstanceUid::parse("1.2.3.4").unwrap(),
            &attributes_with(values),
        )
    }

    #[test]
    fn the_kind_follows_from_the_frames_and_the_photometric_interpretation() {
        let kind = |photometric: &str, frames: &str| {
            let values: [(Tag, &[&str]); 2] =
                [(tags::PHOTOMETRIC_INTERPRETATION, &[photometric]), (tags::NUMBER_OF_FRAMES, &[frames])];
            image_with(&values).map(|image| image.kind)
        };
        assert_eq!(kind("MONOCHROME1", "1"), Some(SampleKind::Monochrome1));
        assert_eq!(kind("MONOCHROME2", "1"), Some(SampleKind::Monochrome2));
        assert_eq!(kind("YBR_FULL_422", "1"), Some(SampleKind::Color));
        assert_eq!(kind("RGB", "2"), Some(SampleKind::MultiFrame));
    }

    #[test]
    fn an_object_that_is_expensive_or_has_no_rules_for_rendering_is_skipped() {
        let cases: [&[(Tag, &[&str])]; 9] = [
            &[(tags::NUMBER_OF_FRAMES, &["1000"])],
            &[(tags::NUMBER_OF_FRAMES, &["9223372036854775807"])],
            &[(tags::SAMPLES_PER_PIXEL, &["9223372036854775807"])],
            &[(tags::ROWS, &["65535"]), (tags::COLUMNS, &["65535"])],
            &[(tags::ROWS, &["9223372036854775807"])],
            &[(tags::BITS_ALLOCATED, &["1"])],
            &[(tags::BITS_ALLOCATED, &["32"])],
            &[(tags::ROWS, &["0"])],
            &[(tags::PHOTOMETRIC_INTERPRETATION, &[])],
        ];
        for values in cases {
            assert_eq!(image_with(values), None, "{values:?}");
        }
    }

    #[test]
    fn requested_windows_differ_from_the_only_window_of_the_image() {
        let window = |center: &[&str], width: &[&str]| {
            image_with(&[(tags::WINDOW_CENTER, center), (tags::WINDOW_WIDTH, width)]).unwrap()
        };
        let image = window(&["40"], &["400"]);
        assert_eq!(image.window, Some((40.0, 400.0)));
        assert_eq!(image.other_windows, [(40.0, 200.0), (-60.0, 200.0), (140.0, 200.0)]);
        assert_eq!(window(&["40", "-600"], &["400", "1500"]).window, None);
        assert_eq!(window(&["40"], &["0"]).window, None);
    }

    #[test]
    fn an_image_with_a_voi_lut_beside_its_window_has_no_only_window() {
        let mut object = attributes_with(&[(tags::WINDOW_CENTER, &["40"]), (tags::WINDOW_WIDTH, &["400"])]);
        assert_eq!(only_window(&object), Some((40.0, 400.0)));
        object.insert(tags::VOILUT_SEQUENCE, Element::items([Attributes::default()]));
        assert_eq!(only_window(&object), None);
    }

    #[test]
    fn requested_windows_without_a_window_are_parts_of_the_range_of_values() {
        let image = image_with(&[
            (tags::BITS_STORED, &["12"] as &[&str]),
            (tags::RESCALE_INTERCEPT, &["-1024"]),
            (tags::RESCALE_SLOPE, &["2"]),
        ]);
        let windows = image.unwrap().other_windows;
        assert_eq!(windows[..2], [(3072.0, 8192.0), (1024.0, 4096.0)]);
        assert_eq!(windows.len(), 5);
    }
}

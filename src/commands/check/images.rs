//! Compares images that an archive renders with those that the gateway renders from the same objects: one image of each kind, whole,
//! with a requested window, and a region. The numbers of requests and pixels and the duration are limited, and no viewport exceeds the image.
//!
//! An image that the archive rejects is not a problem, because the gateway renders it instead.

use std::fmt;
use std::ops::ControlFlow;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::image_difference::{ImageDifference, ReferenceImage};
use super::sample_images::{self, SampleImage, SampleKind};
use crate::dicomweb::{DicomwebError, RenderPool, RenderSources};
use crate::upstream::{Archive, ArchiveErrorKind, DicomResource, Rendering};
use dicom_model::StudyUid;
use dicom_render::Format;

/// The memory in bytes for rendering the images of one archive. The images that are compared take less than that in addition.
const MEMORY: u64 = 256 * 1024 * 1024;

/// Maximum number of archives whose images are compared at the same time, which limits the memory.
pub(super) const MAX_CONCURRENCY: usize = 2;

/// Maximum time for all images of one archive.
const MAX_DURATION: Duration = Duration::from_mins(1);

/// The mean difference that a requested window must make, so that an archive that ignores it is detected.
const MIN_WINDOW_EFFECT: f64 = 16.0;

/// The quality of the JPEG whose loss an archive's JPEG may have.
const LOW_QUALITY: &str = "50";

/// The results of the comparison of the images of one archive.
#[derive(Debug, Clone, Default)]
pub(super) struct ImageCheck {
    /// The number of images that match.
    pub(super) match_count: usize,
    /// The images that do not match or failed.
    pub(super) findings: Vec<ImageFinding>,
    /// Why not all images were compared.
    pub(super) stop: Option<StopReason>,
}

/// Why further images of an archive were not compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopReason {
    /// The archive failed.
    ArchiveFailed,
    /// The maximum time was over.
    Timeout,
}

impl fmt::Display for StopReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ArchiveFailed => formatter.write_str(
                "not all were compared, because the archive failed; run check again when it is available",
            ),
            Self::Timeout => write!(
                formatter,
                "not all were compared within {} s; run check again when the archive is less busy",
                MAX_DURATION.as_secs()
            ),
        }
    }
}

/// An image that the archive does not render correctly.
#[derive(Debug, Clone)]
pub(super) struct ImageFinding {
    /// The kind of the image, and what was requested of it.
    pub(super) image: &'static str,
    pub(super) problem: ImageProblem,
}

/// What is wrong with an image.
#[derive(Debug, Clone)]
pub(super) enum ImageProblem {
    /// The image differs from that of the gateway.
    Different(ImageDifference),
    /// The request failed.
    Failed(DicomwebError),
}

/// Whether the archive failed such that the next request would probably fail as well, or could harm it.
fn is_failure_of_archive(error: &DicomwebError) -> bool {
    match error {
        DicomwebError::ErrorStatus { status, .. } => {
            matches!(status.as_u16(), 401 | 403 | 407 | 429 | 502..=504)
        }
        DicomwebError::Archive(error) => {
            !matches!(error.kind, ArchiveErrorKind::Unreadable(_) | ArchiveErrorKind::Malformed(_))
        }
        _ => false,
    }
}

impl ImageProblem {
    fn is_failure_of_archive(&self) -> bool {
        matches!(self, Self::Failed(error) if is_failure_of_archive(error))
    }
}

impl fmt::Display for ImageProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Different(difference) => difference.fmt(formatter),
            Self::Failed(error) => error.fmt(formatter),
        }
    }
}

impl fmt::Display for ImageCheck {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.match_count + self.findings.len(), self.stop) {
            (0, Some(_)) => formatter.write_str("timeout"),
            (0, None) => formatter.write_str("-"),
            (count, _) => write!(formatter, "{} of {count} match", self.match_count),
        }
    }
}

impl ImageCheck {
    /// Whether the gateway should render the images of the archive.
    pub(super) fn should_be_synthesized(&self) -> bool {
        self.findings.iter().any(|finding| !finding.problem.is_failure_of_archive())
    }
}

/// Compares images of the first of `studies`. `permits` are those of all archives.
pub(super) async fn check(archive: &Archive, studies: &[StudyUid], permits: &Semaphore) -> ImageCheck {
    // The archives that have the permits keep them for the maximum duration at most. The semaphore is never closed.
    let _permit = permits.acquire().await;
    let mut check = ImageCheck::default();
    check.stop = match tokio::time::timeout(MAX_DURATION, check.run(archive, studies)).await {
        Ok(ControlFlow::Continue(())) => None,
        Ok(ControlFlow::Break(())) => Some(StopReason::ArchiveFailed),
        Err(_) => Some(StopReason::Timeout),
    };
    check
}

/// An image to request from the archive.
struct Request {
    name: &'static str,
    objects: DicomResource,
    rendering: Rendering,
}

impl ImageCheck {
    /// Compares one image of each kind. Breaks if the archive fails.
    async fn run(&mut self, archive: &Archive, studies: &[StudyUid]) -> ControlFlow<()> {
        let pool = RenderPool::new(MEMORY, 1, MAX_DURATION);
        let images = sample_images::find(archive, studies).await;
        // A color image needs no window.
        let kinds = [SampleKind::Color, SampleKind::Monochrome2, SampleKind::Monochrome1];
        let cropped_kind = kinds.into_iter().find(|kind| images.contains_key(kind));
        for (kind, image) in &images {
            let mut sources = match RenderSources::open(archive, &pool, image.instance_resource()).await {
                Ok(sources) => sources,
                Err(error) if is_failure_of_archive(&error) => {
                    let problem = ImageProblem::Failed(error);
                    self.findings.push(ImageFinding { image: "object to compare with", problem });
                    return ControlFlow::Break(());
                }
                // The gateway has no image to compare with if it cannot render the object.
                Err(_) => continue,
            };
            for request in requests_for(image, &mut sources, cropped_kind == Some(*kind)).await {
                self.compare(&mut sources, request).await?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Compares one image. Breaks if the archive fails.
    async fn compare(&mut self, sources: &mut RenderSources, request: Request) -> ControlFlow<()> {
        let Some(reference) = reference(sources, &request.rendering).await else {
            return ControlFlow::Continue(());
        };
        let problem = match sources.render_by_archive(&request.objects, &request.rendering).await {
            Ok(None) => return ControlFlow::Continue(()),
            Ok(Some(image)) => {
                // Decoding is expensive, so it does not block the other archives.
                let comparison = tokio::task::spawn_blocking(move || reference.compare(&image)).await;
                // A decoder has panicked.
                let result = comparison.unwrap_or(Err(ImageDifference::NotAnImage));
                result.err().map(ImageProblem::Different)
            }
            Err(error) => Some(ImageProblem::Failed(error)),
        };
        let Some(problem) = problem else {
            self.match_count += 1;
            return ControlFlow::Continue(());
        };
        let is_failure = problem.is_failure_of_archive();
        self.findings.push(ImageFinding { image: request.name, problem });
        if is_failure { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Returns the images to request of `image`, with a region if `is_cropped`.
async fn requests_for(image: &SampleImage, sources: &mut RenderSources, is_cropped: bool) -> Vec<Request> {
    let whole = Rendering::default();
    let windowed = if image.is_monochrome { effective_window(image, sources).await } else { None };
    let (instance, frame) = (image.instance_resource(), image.frame_resource());
    // Without a window of its own, an image may be rendered with any window.
    let own = (!image.is_monochrome || image.window.is_some()).then(|| whole.clone());
    let mut requests = match image.kind {
        SampleKind::Monochrome1 => vec![
            ("monochrome 1", instance.clone(), own.clone()),
            ("monochrome 1 with a requested window", instance.clone(), windowed.clone()),
        ],
        SampleKind::Monochrome2 => vec![
            ("monochrome 2", instance.clone(), own.clone()),
            ("monochrome 2 with a requested window", instance.clone(), windowed.clone()),
            ("frame of monochrome 2", frame.clone(), own.clone()),
            ("frame of monochrome 2 with a requested window", frame, windowed.clone()),
        ],
        SampleKind::Color => vec![("color", instance.clone(), own.clone())],
        SampleKind::MultiFrame if image.is_monochrome => {
            vec![("first frame of several with a requested window", frame, windowed.clone())]
        }
        SampleKind::MultiFrame => vec![("first frame of several", frame, own.clone())],
    };
    if is_cropped {
        // With a requested window, the region does not depend on the window of the image.
        let region = match windowed.or(own) {
            Some(rendering) => cropped(image, rendering, sources).await,
            None => None,
        };
        requests.push(("region", instance, region));
    }
    let requested = requests.into_iter();
    requested
        .filter_map(|(name, objects, rendering)| Some(Request { name, objects, rendering: rendering? }))
        .collect()
}

/// Returns the rendering with the window whose image differs most from the image without a requested window, if it differs enough.
async fn effective_window(image: &SampleImage, sources: &mut RenderSources) -> Option<Rendering> {
    let without_window = reference(sources, &Rendering::default()).await?;
    let mut best: Option<(f64, Rendering)> = None;
    for (center, width) in &image.other_windows {
        let rendering = Rendering::default().with("window", &format!("{center},{width},linear"));
        let Some(rendering) = rendering else { continue };
        let Some(windowed) = reference(sources, &rendering).await else { continue };
        let Some(effect) = windowed.difference_from(&without_window) else { continue };
        if effect >= MIN_WINDOW_EFFECT && best.as_ref().is_none_or(|(largest, _)| effect > *largest) {
            best = Some((effect, rendering));
        }
    }
    best.map(|(_, rendering)| rendering)
}

/// Adds the middle of `image` as a viewport in its original size; `None` if the image is too small, or if its pixels are not square, so
/// that the region must be scaled and each renderer interpolates the values in its own way.
async fn cropped(
    image: &SampleImage,
    rendering: Rendering,
    sources: &mut RenderSources,
) -> Option<Rendering> {
    let (width, height) = (image.columns / 2, image.rows / 2);
    let (left, top) = (image.columns / 4, image.rows / 4);
    if left == 0 || top == 0 {
        return None;
    }
    let rendering = rendering.with("viewport", &format!("{width},{height},{left},{top},{width},{height}"))?;
    let (columns, rows) = reference(sources, &rendering).await?.dimensions();
    ((i64::from(columns), i64::from(rows)) == (width, height)).then_some(rendering)
}

/// Renders an image by the gateway; `None` if it cannot be rendered.
async fn reference(sources: &mut RenderSources, rendering: &Rendering) -> Option<ReferenceImage> {
    let png = sources.render_by_gateway(rendering, Format::Png).await.ok()?;
    let low_quality = rendering.clone().with("quality", LOW_QUALITY)?;
    let jpeg = sources.render_by_gateway(&low_quality, Format::Jpeg).await.ok()?;
    // Decoding is expensive, so it does not block the other archives.
    tokio::task::spawn_blocking(move || ReferenceImage::decode(&png, &jpeg)).await.ok()?
}

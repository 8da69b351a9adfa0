//! Converts stored values to gray levels (PS3.4 N.2): Modality LUT or rescale, VOI LUT or window, Presentation LUT.
//!
//! If neither the object nor the request contains a VOI LUT or window, the minimum value of the frame is black and the maximum is
//! white; padding values are ignored. This module does not know about color images.

use dicom_codecs::{FrameLayout, PhotometricInterpretation, Samples};
use dicom_dictionary_std::tags;

use super::RenderError;
use super::lookup_table::LookupTable;
use super::object::DataSet;
use super::window::{Window, WindowFunction};

/// The attributes of one frame: of the object, and of the shared and the per-frame functional groups (PS3.3 C.7.6.16).
#[derive(Debug)]
pub(super) struct FrameAttributes<'a> {
    object: &'a DataSet,
    shared: Option<DataSet>,
    per_frame: Option<DataSet>,
}

impl<'a> FrameAttributes<'a> {
    /// Reads the attributes of `frame`, starting at 0.
    pub(super) fn read(object: &'a DataSet, frame: u32) -> Result<Self, RenderError> {
        Ok(Self {
            object,
            shared: object.item(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, 0)?,
            per_frame: object.item(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, frame as usize)?,
        })
    }

    /// Returns the item of the functional group `tag`: the item of the frame, or else the item shared by all frames.
    pub(super) fn group(&self, tag: dicom_core::Tag) -> Result<Option<DataSet>, RenderError> {
        for groups in [&self.per_frame, &self.shared].into_iter().flatten() {
            if let Some(item) = groups.item(tag, 0)? {
                return Ok(Some(item));
            }
        }
        Ok(None)
    }

    pub(super) fn object(&self) -> &DataSet {
        self.object
    }
}

/// The modality transformation (PS3.3 C.11.1): converts stored values to output values.
#[derive(Debug)]
enum ModalityTransform {
    Rescale { slope: f64, intercept: f64 },
    Table(LookupTable),
}

impl ModalityTransform {
    fn read(attributes: &FrameAttributes<'_>, layout: &FrameLayout) -> Result<Self, RenderError> {
        if let Some(item) = attributes.object().item(tags::MODALITY_LUT_SEQUENCE, 0)? {
            return LookupTable::from_item(&item, layout.is_signed()).map(Self::Table);
        }
        let group = attributes.group(tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE)?;
        let data_set = group.as_ref().unwrap_or(attributes.object());
        Ok(Self::Rescale {
            slope: data_set.decimal(tags::RESCALE_SLOPE).unwrap_or(1.0),
            intercept: data_set.decimal(tags::RESCALE_INTERCEPT).unwrap_or(0.0),
        })
    }

    fn output_value(&self, number: i64) -> f64 {
        match self {
            Self::Rescale { slope, intercept } => number as f64 * slope + intercept,
            Self::Table(table) => f64::from(table.entry(number)),
        }
    }

    fn may_be_negative(&self, layout: &FrameLayout) -> bool {
        match self {
            Self::Rescale { intercept, slope } => layout.is_signed() || *intercept < 0.0 || *slope < 0.0,
            Self::Table(_) => false,
        }
    }
}

/// The VOI transformation (PS3.3 C.11.2): converts output values to levels from 0 to 1.
#[derive(Debug)]
enum VoiTransform {
    Window(Window),
    Table(LookupTable),
    /// Maps linearly: the first value to level 0, the second to level 1.
    Range(f64, f64),
}

impl VoiTransform {
    fn read(data_set: &DataSet, is_signed: bool) -> Result<Option<Self>, RenderError> {
        // If there are a table and a window, either can be used; the table is more specific.
        if let Some(item) = data_set.item(tags::VOILUT_SEQUENCE, 0)? {
            return LookupTable::from_item(&item, is_signed).map(|table| Some(Self::Table(table)));
        }
        let (Some(center), Some(width)) =
            (data_set.decimal(tags::WINDOW_CENTER), data_set.decimal(tags::WINDOW_WIDTH))
        else {
            return Ok(None);
        };
        let function = WindowFunction::from_attribute(data_set.text(tags::VOILUT_FUNCTION).as_deref());
        let function = function.ok_or(RenderError::Unsupported("the VOI LUT function"))?;
        // A window of width 0, which some devices write, is ignored.
        Ok(Window::new(center, width, function).map(Self::Window))
    }

    fn level(&self, output_value: f64) -> f64 {
        match self {
            Self::Window(window) => window.level(output_value),
            Self::Table(table) => {
                f64::from(table.entry(output_value.round() as i64)) / f64::from(table.max_entry)
            }
            Self::Range(minimum, maximum) if maximum > minimum => {
                ((output_value - minimum) / (maximum - minimum)).clamp(0.0, 1.0)
            }
            Self::Range(..) => 0.0,
        }
    }
}

/// The complete transformation of stored values to gray levels.
#[derive(Debug)]
pub(super) struct Grayscale {
    modality: ModalityTransform,
    voi: VoiTransform,
    presentation: Option<LookupTable>,
    is_inverted: bool,
}

impl Grayscale {
    /// Reads the transformation of a frame with `samples`. A requested `window` replaces the window of the object.
    pub(super) fn read(
        attributes: &FrameAttributes<'_>,
        layout: &FrameLayout,
        window: Option<Window>,
        samples: &Samples,
    ) -> Result<Self, RenderError> {
        let modality = ModalityTransform::read(attributes, layout)?;
        let is_signed = modality.may_be_negative(layout);
        let voi = if let Some(window) = window {
            Some(VoiTransform::Window(window))
        } else {
            let group = attributes.group(tags::FRAME_VOILUT_SEQUENCE)?;
            VoiTransform::read(group.as_ref().unwrap_or(attributes.object()), is_signed)?
        };
        let voi = voi.unwrap_or_else(|| {
            let padding = Padding::read(attributes.object(), layout);
            full_range(&modality, layout, padding, samples)
        });
        let object = attributes.object();
        let presentation = object.item(tags::PRESENTATION_LUT_SEQUENCE, 0)?;
        let presentation = presentation.map(|item| LookupTable::from_item(&item, false)).transpose()?;
        let shape = object.text(tags::PRESENTATION_LUT_SHAPE);
        let is_inverted = layout.photometric_interpretation() == PhotometricInterpretation::Monochrome1
            || shape.as_deref() == Some("INVERSE");
        Ok(Self { modality, voi, presentation, is_inverted })
    }

    fn level(&self, number: i64) -> u8 {
        let level = self.voi.level(self.modality.output_value(number));
        let level = match &self.presentation {
            Some(table) => f64::from(table.entry_at_fraction(level)) / f64::from(table.max_entry),
            None => level,
        };
        let level = if self.is_inverted { 1.0 - level } else { level };
        (level * 255.0).round() as u8
    }

    /// Returns the gray levels of a frame, 0 for black.
    pub(super) fn levels(&self, samples: &Samples, layout: &FrameLayout) -> Vec<u8> {
        match samples {
            Samples::U16(words) => {
                let table: Vec<u8> =
                    (0..=u32::from(u16::MAX)).map(|word| self.level(layout.value(word))).collect();
                words.iter().map(|word| table[usize::from(*word)]).collect()
            }
            Samples::U32(longs) => longs.iter().map(|long| self.level(layout.value(*long))).collect(),
        }
    }
}

/// The range of pixel padding values (PS3.3 C.7.5.1.1.2).
#[derive(Debug, Clone, Copy)]
struct Padding(Option<(i64, i64)>);

impl Padding {
    fn read(object: &DataSet, layout: &FrameLayout) -> Self {
        let number = |tag| {
            let word = object.word(tag)?;
            Some(if layout.is_signed() { i64::from(word.cast_signed()) } else { i64::from(word) })
        };
        let Some(value) = number(tags::PIXEL_PADDING_VALUE) else { return Self(None) };
        let limit = number(tags::PIXEL_PADDING_RANGE_LIMIT).unwrap_or(value);
        Self(Some((value.min(limit), value.max(limit))))
    }

    fn contains(self, number: i64) -> bool {
        self.0.is_some_and(|(minimum, maximum)| (minimum..=maximum).contains(&number))
    }
}

/// Returns the transformation that maps the minimum value of the frame to black and the maximum to white.
fn full_range(
    modality: &ModalityTransform,
    layout: &FrameLayout,
    padding: Padding,
    samples: &Samples,
) -> VoiTransform {
    // One-bit segmentations are white even if all pixels of the frame are 1.
    if layout.bits_stored() == 1 {
        return VoiTransform::Range(0.0, 1.0);
    }
    let mut range: Option<(i64, i64)> = None;
    let mut include = |number: i64| {
        if !padding.contains(number) {
            let (minimum, maximum) = range.unwrap_or((number, number));
            range = Some((minimum.min(number), maximum.max(number)));
        }
    };
    match samples {
        Samples::U16(words) => words.iter().for_each(|word| include(layout.value(u32::from(*word)))),
        Samples::U32(longs) => longs.iter().for_each(|long| include(layout.value(*long))),
    }
    let (minimum, maximum) = range.unwrap_or_default();
    let (first_limit, second_limit) = (modality.output_value(minimum), modality.output_value(maximum));
    VoiTransform::Range(first_limit.min(second_limit), first_limit.max(second_limit))
}

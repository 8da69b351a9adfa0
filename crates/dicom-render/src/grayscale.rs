//! From stored numbers to levels of grey (PS3.4 N.2): the ModalityTransform LUT makes them quantities, the VOI LUT or a window
//! picks those of interest, the Presentation LUT makes them levels.
//!
//! Where an object names neither table nor window, and none is asked for, the smallest number of the frame is black and
//! the greatest white, numbers that stand for padding left out.

use dicom_codecs::{FrameLayout, PhotometricInterpretation, Samples};
use dicom_dictionary_std::tags;

use super::RenderError;
use super::lookup_table::LookupTable;
use super::object::DataSet;
use super::window::{Window, WindowFunction};

/// The attributes of one frame: of the object, of all its frames, and of this one (PS3.3 C.7.6.16).
#[derive(Debug)]
pub(super) struct FrameAttributes<'a> {
    object: &'a DataSet,
    shared: Option<DataSet>,
    own: Option<DataSet>,
}

impl<'a> FrameAttributes<'a> {
    /// Of `frame`, counted from 0.
    pub(super) fn read(object: &'a DataSet, frame: u32) -> Result<Self, RenderError> {
        Ok(Self {
            object,
            shared: object.item(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, 0)?,
            own: object.item(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, frame as usize)?,
        })
    }

    /// The one item of the functional group `tag`, of the frame or of all frames.
    pub(super) fn group(&self, tag: dicom_core::Tag) -> Result<Option<DataSet>, RenderError> {
        for groups in [&self.own, &self.shared].into_iter().flatten() {
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

/// How stored numbers become quantities.
#[derive(Debug)]
enum ModalityTransform {
    Rescale { slope: f64, intercept: f64 },
    Table(LookupTable),
}

impl ModalityTransform {
    fn read(attributes: &FrameAttributes<'_>, layout: &FrameLayout) -> Result<Self, RenderError> {
        if let Some(item) = attributes.object().item(tags::MODALITY_LUT_SEQUENCE, 0)? {
            return LookupTable::of_item(&item, layout.is_signed()).map(Self::Table);
        }
        let group = attributes.group(tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE)?;
        let set = group.as_ref().unwrap_or(attributes.object());
        Ok(Self::Rescale {
            slope: set.decimal(tags::RESCALE_SLOPE).unwrap_or(1.0),
            intercept: set.decimal(tags::RESCALE_INTERCEPT).unwrap_or(0.0),
        })
    }

    fn quantity(&self, number: i64) -> f64 {
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

/// How quantities become parts of the whole range.
#[derive(Debug)]
enum VoiTransform {
    Window(Window),
    Table(LookupTable),
    /// From the first to the second.
    Range(f64, f64),
}

impl VoiTransform {
    fn of_attributes(set: &DataSet, signed: bool) -> Result<Option<Self>, RenderError> {
        // Of a table and a window either may be taken; the table says more.
        if let Some(item) = set.item(tags::VOILUT_SEQUENCE, 0)? {
            return LookupTable::of_item(&item, signed).map(|table| Some(Self::Table(table)));
        }
        let (Some(center), Some(width)) = (set.decimal(tags::WINDOW_CENTER), set.decimal(tags::WINDOW_WIDTH))
        else {
            return Ok(None);
        };
        let function = WindowFunction::of_attribute(set.text(tags::VOILUT_FUNCTION).as_deref());
        let function = function.ok_or(RenderError::Unsupported("its VOI LUT function"))?;
        // A window of width 0, which some write, is none.
        Ok(Window::new(center, width, function).map(Self::Window))
    }

    fn level(&self, quantity: f64) -> f64 {
        match self {
            Self::Window(window) => window.level(quantity),
            Self::Table(table) => f64::from(table.entry(quantity.round() as i64)) / f64::from(table.top),
            Self::Range(least, greatest) if greatest > least => {
                ((quantity - least) / (greatest - least)).clamp(0.0, 1.0)
            }
            Self::Range(..) => 0.0,
        }
    }
}

/// All three steps.
#[derive(Debug)]
pub(super) struct Grayscale {
    modality: ModalityTransform,
    interest: VoiTransform,
    presentation: Option<LookupTable>,
    inverted: bool,
}

impl Grayscale {
    /// Of a frame with `samples`, with `window` in place of its own where one is asked for.
    pub(super) fn read(
        attributes: &FrameAttributes<'_>,
        layout: &FrameLayout,
        window: Option<Window>,
        samples: &Samples,
    ) -> Result<Self, RenderError> {
        let modality = ModalityTransform::read(attributes, layout)?;
        let signed = modality.may_be_negative(layout);
        let interest = if let Some(window) = window {
            Some(VoiTransform::Window(window))
        } else {
            let group = attributes.group(tags::FRAME_VOILUT_SEQUENCE)?;
            VoiTransform::of_attributes(group.as_ref().unwrap_or(attributes.object()), signed)?
        };
        let interest = interest.unwrap_or_else(|| {
            let padding = Padding::read(attributes.object(), layout);
            whole_range(&modality, layout, padding, samples)
        });
        let object = attributes.object();
        let presentation = object.item(tags::PRESENTATION_LUT_SEQUENCE, 0)?;
        let presentation = presentation.map(|item| LookupTable::of_item(&item, false)).transpose()?;
        let shape = object.text(tags::PRESENTATION_LUT_SHAPE);
        let inverted = layout.photometric_interpretation() == PhotometricInterpretation::Monochrome1
            || shape.as_deref() == Some("INVERSE");
        Ok(Self { modality, interest, presentation, inverted })
    }

    fn level(&self, number: i64) -> u8 {
        let level = self.interest.level(self.modality.quantity(number));
        let level = match &self.presentation {
            Some(table) => f64::from(table.entry_at(level)) / f64::from(table.top),
            None => level,
        };
        let level = if self.inverted { 1.0 - level } else { level };
        (level * 255.0).round() as u8
    }

    /// The levels of a whole frame, 0 being black.
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

/// Numbers that stand for "nothing was imaged here" (PS3.3 C.7.5.1.1.2).
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

    fn holds(self, number: i64) -> bool {
        self.0.is_some_and(|(least, greatest)| (least..=greatest).contains(&number))
    }
}

fn whole_range(
    modality: &ModalityTransform,
    layout: &FrameLayout,
    padding: Padding,
    samples: &Samples,
) -> VoiTransform {
    // A segment is white whether or not the frame has something beside it.
    if layout.bits_stored() == 1 {
        return VoiTransform::Range(0.0, 1.0);
    }
    let mut range: Option<(i64, i64)> = None;
    let mut widen = |number: i64| {
        if !padding.holds(number) {
            let (least, greatest) = range.unwrap_or((number, number));
            range = Some((least.min(number), greatest.max(number)));
        }
    };
    match samples {
        Samples::U16(words) => words.iter().for_each(|word| widen(layout.value(u32::from(*word)))),
        Samples::U32(longs) => longs.iter().for_each(|long| widen(layout.value(*long))),
    }
    let (least, greatest) = range.unwrap_or_default();
    let (one, other) = (modality.quantity(least), modality.quantity(greatest));
    VoiTransform::Range(one.min(other), one.max(other))
}

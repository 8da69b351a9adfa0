//! Burns the annotation of PS3.18 8.3.5.1.1 into a rendered image: patient and technique.
//!
//! The glyphs are those of GNU Unifont, for scripts that are written character by character from left to right. Text in other
//! scripts (Arabic, Hebrew, Thai, scripts of India) would be displayed wrongly and is rejected. Text that does not fit is rejected
//! too, because a truncated name could be the name of another patient. Lines are not wrapped.

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use image::{DynamicImage, GenericImage, GenericImageView, Rgba};
use unicode_normalization::UnicodeNormalization;
use unifont::{Glyph, get_glyph};

use super::RenderError;
use super::object::DataSet;
use dicom_model::charset::{CharacterSets, Delimiters};

/// The requested annotation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Annotation {
    /// Whether to include name, identifier, birth date and sex of the patient.
    pub patient: bool,
    /// Whether to include modality, study date, and the numbers of series, image and frame.
    pub technique: bool,
}

/// Height of a glyph in pixels.
const LINE_HEIGHT: u32 = 16;

/// Distance in pixels between text and edge of the image.
const MARGIN: u32 = 4;

/// The image width in pixels for each unit of the scale factor of glyphs.
const WIDTH_PER_SCALE: u32 = 1024;

/// The attributes that the annotation contains.
pub(super) const ATTRIBUTES: [Tag; 9] = [
    tags::SPECIFIC_CHARACTER_SET,
    tags::STUDY_DATE,
    tags::MODALITY,
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::PATIENT_BIRTH_DATE,
    tags::PATIENT_SEX,
    tags::SERIES_NUMBER,
    tags::INSTANCE_NUMBER,
];

/// The lines in the top left and the bottom left corner.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Lines {
    top: Vec<String>,
    bottom: Vec<String>,
}

impl Annotation {
    /// Returns the lines for `frame`, starting at 1, of an object with `frame_count` frames.
    pub(super) fn lines(self, object: &DataSet, frame: u32, frame_count: u32) -> Result<Lines, RenderError> {
        let mut lines = Lines::default();
        let ascii_text = |tag| object.text(tag);
        if self.patient {
            let sets = object.texts(tags::SPECIFIC_CHARACTER_SET);
            let sets = CharacterSets::from_terms(sets.iter().map(AsRef::as_ref));
            let text = |tag, delimiters| {
                let text = sets.decode(object.bytes(tag)?, delimiters);
                let text = text.trim_matches(['\0', ' ']).to_owned();
                (!text.is_empty()).then_some(text)
            };
            let name = text(tags::PATIENT_NAME, Delimiters::Names).map(|name| format_name(&name));
            lines.top.push(name.unwrap_or_else(|| "No name".to_owned()));
            let id = text(tags::PATIENT_ID, Delimiters::Values);
            lines.top.push(id.map_or_else(|| "No patient ID".to_owned(), |id| format!("ID {id}")));
            let birth =
                ascii_text(tags::PATIENT_BIRTH_DATE).map(|date| format!("born {}", format_date(&date)));
            let birth_and_sex: Vec<_> =
                [birth, ascii_text(tags::PATIENT_SEX)].into_iter().flatten().collect();
            lines.top.extend((!birth_and_sex.is_empty()).then(|| birth_and_sex.join("  ")));
        }
        if self.technique {
            let study_date = ascii_text(tags::STUDY_DATE).map(|date| format_date(&date));
            let modality_and_date: Vec<_> =
                [ascii_text(tags::MODALITY), study_date].into_iter().flatten().collect();
            let numbers = [("series", tags::SERIES_NUMBER), ("image", tags::INSTANCE_NUMBER)];
            let numbers =
                numbers.map(|(label, tag)| ascii_text(tag).map(|number| format!("{label} {number}")));
            let frame = (frame_count > 1).then(|| format!("frame {frame} of {frame_count}"));
            let position: Vec<_> = numbers.into_iter().chain([frame]).flatten().collect();
            lines.bottom.extend(
                [modality_and_date, position]
                    .iter()
                    .filter(|line| !line.is_empty())
                    .map(|line| line.join("  ")),
            );
        }
        for line in lines.top.iter_mut().chain(&mut lines.bottom) {
            *line = line.nfc().collect();
            if !line.chars().all(has_independent_glyph) {
                return Err(RenderError::Unsupported("the script of its annotation text"));
            }
        }
        Ok(lines)
    }
}

/// Formats a name (PS3.5 6.2.1): the components of each group in their order, without delimiters.
fn format_name(name: &str) -> String {
    let format_group =
        |group: &str| group.split('^').filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    let groups: Vec<_> = name.split('=').map(format_group).filter(|group| !group.is_empty()).collect();
    groups.join(" / ")
}

fn format_date(date: &str) -> String {
    match (date.get(..4), date.get(4..6), date.get(6..)) {
        (Some(year), Some(month), Some(day)) if day.len() == 2 => format!("{year}-{month}-{day}"),
        _ => date.to_owned(),
    }
}

/// Whether a character has a glyph that can be written at its position in the text.
fn has_independent_glyph(character: char) -> bool {
    let is_excluded = matches!(
        u32::from(character),
        // Control characters, combining marks, right-to-left scripts, and scripts whose glyphs depend on neighboring
        // characters.
        0..0x20 | 0x7f..0xa0 | 0x300..0x370 | 0x590..0x10a0 | 0x1700..0x1e00 | 0x200b..0x2010 | 0x2028..0x2030 | 0x20d0..0x2100 | 0xa800..0xac00 | 0xfb1d..0xfe50 | 0xfe70..0xff00
    );
    !is_excluded && get_glyph(character).is_some()
}

/// Writes `lines` into the image, white with a dark outline, so that they are readable on any background.
pub(super) fn write(image: &mut DynamicImage, lines: &Lines) -> Result<(), RenderError> {
    if lines.top.is_empty() && lines.bottom.is_empty() {
        return Ok(());
    }
    let (width, height) = image.dimensions();
    let scale = (width / WIDTH_PER_SCALE).clamp(1, 4);
    let line_count = (lines.top.len() + lines.bottom.len()) as u32;
    let max_width = lines.top.iter().chain(&lines.bottom).map(|line| line_width(line)).max().unwrap_or(0);
    if max_width * scale + 2 * MARGIN > width || line_count * LINE_HEIGHT * scale + 2 * MARGIN > height {
        return Err(RenderError::ViewportTooSmall);
    }
    let bottom = height - MARGIN - lines.bottom.len() as u32 * LINE_HEIGHT * scale;
    for (lines, top) in [(&lines.top, MARGIN), (&lines.bottom, bottom)] {
        for (line, index) in lines.iter().zip(0..) {
            write_line(image, line, top + index * LINE_HEIGHT * scale, scale);
        }
    }
    Ok(())
}

fn line_width(line: &str) -> u32 {
    line.chars().filter_map(get_glyph).map(|glyph| glyph.get_width() as u32).sum()
}

fn write_line(image: &mut DynamicImage, line: &str, top: u32, scale: u32) {
    // All outlines are written first, so that they do not cover the neighboring glyph.
    for (shade, outline_width) in [(0, 1), (255, 0)] {
        let mut left = MARGIN;
        for glyph in line.chars().filter_map(get_glyph) {
            write_glyph(image, glyph, (left, top), scale, shade, outline_width);
            left += glyph.get_width() as u32 * scale;
        }
    }
}

/// Sets the pixels of a glyph and those within a distance of `outline_width` pixels.
fn write_glyph(
    image: &mut DynamicImage,
    glyph: &Glyph,
    (left, top): (u32, u32),
    scale: u32,
    shade: u8,
    outline_width: u32,
) {
    for row in 0..LINE_HEIGHT {
        for column in 0..glyph.get_width() as u32 {
            if !glyph.get_pixel(column as usize, row as usize) {
                continue;
            }
            let (x, y) = (left + column * scale, top + row * scale);
            // Always inside the image: the margin is wider than the outline.
            for y in y - outline_width..y + scale + outline_width {
                for x in x - outline_width..x + scale + outline_width {
                    image.put_pixel(x, y, Rgba([shade, shade, shade, 255]));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_dates_are_formatted_for_people() {
        assert_eq!(
            format_name("Yamada^Tarou=山田^太郎=やまだ^たろう"),
            "Yamada Tarou / 山田 太郎 / やまだ たろう"
        );
        assert_eq!(format_name("Doe^Jane^^Dr"), "Doe Jane Dr");
        assert_eq!(format_date("20240229"), "2024-02-29");
        assert_eq!(format_date("1994.01.30"), "1994.01.30");
    }

    #[test]
    fn scripts_that_are_not_written_character_by_character_are_rejected() {
        for text in ["Müller Łukasz", "Иванов Ελένη", "山田 太郎 やまだ", "김희중 / 李"]
        {
            assert!(text.nfc().all(has_independent_glyph), "{text}");
        }
        // The letter ü as two characters.
        assert!("Mu\u{308}ller".nfc().all(has_independent_glyph));
        for text in ["محمد", "כהן", "สมชาย", "राम", "a\u{301}\u{302}\u{303}", "a\nb", "a\u{202e}b"]
        {
            assert!(!text.nfc().all(has_independent_glyph), "{text}");
        }
    }

    #[test]
    fn text_is_white_with_a_dark_outline_and_inside_the_image() {
        let lines = Lines { top: vec!["Il".to_owned()], bottom: vec!["山".to_owned()] };
        let mut image = DynamicImage::new_luma8(24, 40);
        image.as_mut_luma8().unwrap().fill(100);
        write(&mut image, &lines).unwrap();
        let gray = image.as_luma8().unwrap();
        for shade in [0, 100, 255] {
            assert!(gray.pixels().any(|pixel| pixel.0 == [shade]), "{shade}");
        }
        let edge = (0..24).map(|x| (x, 0)).chain((0..40).map(|y| (0, y)));
        assert!(edge.into_iter().all(|(x, y)| gray.get_pixel(x, y).0 == [100]));
    }

    #[test]
    fn text_that_does_not_fit_is_rejected() {
        let lines = Lines { top: vec!["Doe Jane".to_owned()], bottom: vec!["CT".to_owned()] };
        for (width, height, fits) in [(72, 40, true), (71, 40, false), (72, 39, false), (1, 1, false)] {
            let written = write(&mut DynamicImage::new_rgb8(width, height), &lines);
            assert_eq!(written.is_ok(), fits, "{width} x {height}");
        }
    }
}

//! What is written into a picture, so that nobody takes it for another's (PS3.18 8.3.5.1.1): whose it is, and what it shows.
//!
//! Letters are those of GNU Unifont, of every script that is written letter by letter from left to right. What is written in
//! another way - Arabic, Hebrew, Thai, the scripts of India - would be read as something else, and is refused; so is what
//! finds no room, as half a name may be another's.

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use image::{DynamicImage, GenericImage, GenericImageView, Rgba};
use unicode_normalization::UnicodeNormalization;
use unifont::{Glyph, get_glyph};

use super::RenderError;
use super::object::DataSet;
use dicom_model::charset::{CharacterSets, Delimiters};

/// What is to be written into a picture.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Annotation {
    /// The patient's name, identifier, birth date and sex.
    pub patient: bool,
    /// Which image of which series it is, of what kind, and of which day.
    pub technique: bool,
}

/// A letter is as high.
const LINE: u32 = 16;

/// Between a text and the edge.
const MARGIN: u32 = 4;

/// As wide a picture has letters of twice the size, and so on.
const WIDTH_PER_SIZE: u32 = 1024;

/// What is read of an object for that.
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

/// The lines of two corners.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Lines {
    top: Vec<String>,
    bottom: Vec<String>,
}

impl Annotation {
    /// What it says of `frame`, counted from 1, of the `frames` of an object.
    pub(super) fn lines(self, object: &DataSet, frame: u32, frames: u32) -> Result<Lines, RenderError> {
        let mut lines = Lines::default();
        let plain = |tag| object.text(tag);
        if self.patient {
            let sets = plain(tags::SPECIFIC_CHARACTER_SET).unwrap_or_default();
            let sets = CharacterSets::from_terms(sets.split('\\'));
            let text = |tag, delimiters| {
                let text = sets.decode(object.bytes(tag)?, delimiters);
                let text = text.trim_matches(['\0', ' ']).to_owned();
                (!text.is_empty()).then_some(text)
            };
            let name = text(tags::PATIENT_NAME, Delimiters::Names).map(|name| name_in_words(&name));
            lines.top.push(name.unwrap_or_else(|| "No name".to_owned()));
            let id = text(tags::PATIENT_ID, Delimiters::Values);
            lines.top.push(id.map_or_else(|| "No patient ID".to_owned(), |id| format!("ID {id}")));
            let birth = plain(tags::PATIENT_BIRTH_DATE).map(|date| format!("born {}", date_in_words(&date)));
            let born: Vec<_> = [birth, plain(tags::PATIENT_SEX)].into_iter().flatten().collect();
            lines.top.extend((!born.is_empty()).then(|| born.join("  ")));
        }
        if self.technique {
            let day = plain(tags::STUDY_DATE).map(|date| date_in_words(&date));
            let kind: Vec<_> = [plain(tags::MODALITY), day].into_iter().flatten().collect();
            let numbers = [("series", tags::SERIES_NUMBER), ("image", tags::INSTANCE_NUMBER)];
            let numbers = numbers.map(|(word, tag)| plain(tag).map(|number| format!("{word} {number}")));
            let frame = (frames > 1).then(|| format!("frame {frame} of {frames}"));
            let which: Vec<_> = numbers.into_iter().chain([frame]).flatten().collect();
            lines
                .bottom
                .extend([kind, which].iter().filter(|line| !line.is_empty()).map(|line| line.join("  ")));
        }
        for line in lines.top.iter_mut().chain(&mut lines.bottom) {
            *line = line.nfc().collect();
            if !line.chars().all(stands_alone) {
                return Err(RenderError::Unsupported("a name in a script"));
            }
        }
        Ok(lines)
    }
}

/// A name's groups as people write them (PS3.5 6.2.1): its parts in their order, without delimiters.
fn name_in_words(name: &str) -> String {
    let group = |group: &str| group.split('^').filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    let groups: Vec<_> = name.split('=').map(group).filter(|group| !group.is_empty()).collect();
    groups.join(" / ")
}

fn date_in_words(date: &str) -> String {
    match (date.get(..4), date.get(4..6), date.get(6..)) {
        (Some(year), Some(month), Some(day)) if day.len() == 2 => format!("{year}-{month}-{day}"),
        _ => date.to_owned(),
    }
}

/// Whether a character has a letter of its own, which stands where it stands in the text.
fn stands_alone(character: char) -> bool {
    let is_joined_or_turned = matches!(
        u32::from(character),
        // Marks above and below others, scripts from right to left, and those whose letters take each other's place.
        0..0x20 | 0x7f..0xa0 | 0x300..0x370 | 0x590..0x10a0 | 0x1700..0x1e00 | 0x200b..0x2010 | 0x2028..0x2030 | 0x20d0..0x2100 | 0xa800..0xac00 | 0xfb1d..0xfe50 | 0xfe70..0xff00
    );
    !is_joined_or_turned && get_glyph(character).is_some()
}

/// Writes `lines` into `picture`, white with a dark edge, so that they can be read on anything.
pub(super) fn write(picture: &mut DynamicImage, lines: &Lines) -> Result<(), RenderError> {
    if lines.top.is_empty() && lines.bottom.is_empty() {
        return Ok(());
    }
    let (width, height) = picture.dimensions();
    let size = (width / WIDTH_PER_SIZE).clamp(1, 4);
    let count = (lines.top.len() + lines.bottom.len()) as u32;
    let widest = lines.top.iter().chain(&lines.bottom).map(|line| width_of(line)).max().unwrap_or(0);
    if widest * size + 2 * MARGIN > width || count * LINE * size + 2 * MARGIN > height {
        return Err(RenderError::NoRoom);
    }
    let bottom = height - MARGIN - lines.bottom.len() as u32 * LINE * size;
    for (lines, top) in [(&lines.top, MARGIN), (&lines.bottom, bottom)] {
        for (line, number) in lines.iter().zip(0..) {
            write_line(picture, line, top + number * LINE * size, size);
        }
    }
    Ok(())
}

fn width_of(line: &str) -> u32 {
    line.chars().filter_map(get_glyph).map(|glyph| glyph.get_width() as u32).sum()
}

fn write_line(picture: &mut DynamicImage, line: &str, top: u32, size: u32) {
    // The edge of a letter lies under the letter beside it.
    for (shade, reach) in [(0, 1), (255, 0)] {
        let mut left = MARGIN;
        for glyph in line.chars().filter_map(get_glyph) {
            write_glyph(picture, glyph, (left, top), size, shade, reach);
            left += glyph.get_width() as u32 * size;
        }
    }
}

/// Fills the pixels of a letter, and those within `reach` of them.
fn write_glyph(
    picture: &mut DynamicImage,
    glyph: &Glyph,
    (left, top): (u32, u32),
    size: u32,
    shade: u8,
    reach: u32,
) {
    for row in 0..LINE {
        for column in 0..glyph.get_width() as u32 {
            if !glyph.get_pixel(column as usize, row as usize) {
                continue;
            }
            let (x, y) = (left + column * size, top + row * size);
            // Never out of the picture: the margin is wider than the reach.
            for y in y - reach..y + size + reach {
                for x in x - reach..x + size + reach {
                    picture.put_pixel(x, y, Rgba([shade, shade, shade, 255]));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_dates_are_written_as_people_write_them() {
        assert_eq!(
            name_in_words("Yamada^Tarou=山田^太郎=やまだ^たろう"),
            "Yamada Tarou / 山田 太郎 / やまだ たろう"
        );
        assert_eq!(name_in_words("Doe^Jane^^Dr"), "Doe Jane Dr");
        assert_eq!(date_in_words("20240229"), "2024-02-29");
        assert_eq!(date_in_words("1994.01.30"), "1994.01.30");
    }

    #[test]
    fn scripts_that_are_not_written_letter_by_letter_are_known() {
        for text in ["Müller Łukasz", "Иванов Ελένη", "山田 太郎 やまだ", "김희중 / 李"]
        {
            assert!(text.nfc().all(stands_alone), "{text}");
        }
        // The same letter, made of two characters.
        assert!("Mu\u{308}ller".nfc().all(stands_alone));
        for text in ["محمد", "כהן", "สมชาย", "राम", "a\u{301}\u{302}\u{303}", "a\nb", "a\u{202e}b"]
        {
            assert!(!text.nfc().all(stands_alone), "{text}");
        }
    }

    #[test]
    fn a_text_is_white_with_a_dark_edge_and_all_of_it_in_the_picture() {
        let lines = Lines { top: vec!["Il".to_owned()], bottom: vec!["山".to_owned()] };
        let mut picture = DynamicImage::new_luma8(24, 40);
        picture.as_mut_luma8().unwrap().fill(100);
        write(&mut picture, &lines).unwrap();
        let grey = picture.as_luma8().unwrap();
        for shade in [0, 100, 255] {
            assert!(grey.pixels().any(|pixel| pixel.0 == [shade]), "{shade}");
        }
        let edge = (0..24).map(|x| (x, 0)).chain((0..40).map(|y| (0, y)));
        assert!(edge.into_iter().all(|(x, y)| grey.get_pixel(x, y).0 == [100]));
    }

    #[test]
    fn what_finds_no_room_is_not_cut_off() {
        let lines = Lines { top: vec!["Doe Jane".to_owned()], bottom: vec!["CT".to_owned()] };
        for (width, height, fits) in [(72, 40, true), (71, 40, false), (72, 39, false), (1, 1, false)] {
            let written = write(&mut DynamicImage::new_rgb8(width, height), &lines);
            assert_eq!(written.is_ok(), fits, "{width} x {height}");
        }
    }
}

//! Who is asking, and what they may see: made once for each request and handed through every call, so that no code can
//! reach a study without one.
//!
//! The gateway runs in mode `open`: whoever can reach it may see everything, and the network in front of it decides who
//! that is. The value exists all the same, as the place where a patient's context and a client's policy are decided.

use crate::dicom::Attributes;

/// What the caller of one request may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access(Extent);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Extent {
    Everything,
}

impl Access {
    /// The access of every caller in mode `open`.
    pub fn everything() -> Self {
        Self(Extent::Everything)
    }

    /// Whether the study that `row` describes may be seen. Asked for every row of every answer, on every cache hit.
    pub fn may_see_study(&self, _row: &Attributes) -> bool {
        match self.0 {
            Extent::Everything => true,
        }
    }

    /// Whether every study of every patient may be seen, so that a body need not be filtered.
    pub fn sees_everything(&self) -> bool {
        match self.0 {
            Extent::Everything => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_mode_sees_everything() {
        let access = Access::everything();
        assert!(access.sees_everything());
        assert!(access.may_see_study(&Attributes::default()));
    }
}

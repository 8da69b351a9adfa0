//! The bytes of an object while they are received, within the memory of a permit. When the object is complete, its blocks are joined
//! and therefore in memory twice, so an object may have half of the memory of the permit.

use bytes::Bytes;

use super::pool::RenderPermit;
use crate::dicomweb::block_buffer::BlockBuffer;
use crate::dicomweb::error::DicomwebError;
use dicom_render::RenderError;

/// A buffer that grows within the memory of a permit.
#[derive(Debug, Default)]
pub(super) struct ObjectBuffer(BlockBuffer);

impl ObjectBuffer {
    /// Appends `chunk`. Waits for more memory if the permit does not have enough; an error if there is no more.
    pub(super) async fn append(
        &mut self,
        chunk: &[u8],
        permit: &mut RenderPermit,
    ) -> Result<(), DicomwebError> {
        while 2 * (self.0.len() + chunk.len()) > permit.limit() {
            if !permit.acquire_extra_memory().await? {
                return Err(RenderError::TooLarge.into());
            }
        }
        self.0.append(chunk);
        Ok(())
    }

    /// Returns all bytes.
    pub(super) fn into_bytes(self) -> Bytes {
        self.0.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicomweb::rendering::RenderPool;
    use std::time::Duration;

    #[tokio::test]
    async fn an_object_may_have_half_of_the_memory_of_its_permit() {
        for (memory, chunk_size) in [(100_000, 50), (8 << 20, 1000), (64 << 20, 300_000)] {
            let pool = RenderPool::new(memory, 2, Duration::from_secs(1));
            let mut permit = pool.acquire().await.unwrap();
            let mut buffer = ObjectBuffer::default();
            let chunk = vec![1; chunk_size];
            while buffer.append(&chunk, &mut permit).await.is_ok() {}
            let (size, largest) = (buffer.into_bytes().len(), permit.limit() / 2);
            assert!(size <= largest && size + chunk_size > largest, "{memory}: {size}");
        }
    }
}

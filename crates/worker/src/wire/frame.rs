//! Reading and writing frames: `u32 header_len, u32 body_len, header, body`, little endian.

use std::io::{self, IoSlice};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A larger header is a broken peer, not a big payload: payloads travel in the body.
pub const HEADER_BYTES_MAX: u32 = 16 * 1024 * 1024;
const PREFIX_BYTES: usize = 8;
/// What is kept for the next frame; buffers that grew for a large body are given back.
const BUFFER_BYTES: usize = 8 * 1024;

/// A length field is not believed beyond this before as many bytes have come: then the rest is reserved at once, so that
/// a large body is not copied again and again while it grows.
const GROWTH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One frame as it came in.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    pub header: Bytes,
    pub body: Bytes,
}

/// Reads frames from a byte stream, keeping what came early for the next call.
#[derive(Debug)]
pub struct FrameReader {
    buffer: BytesMut,
    body_bytes_max: u32,
}

impl FrameReader {
    /// A reader that refuses frames with a body of more than `body_bytes_max` bytes: the other side runs user code.
    pub fn new(body_bytes_max: u32) -> Self {
        Self { buffer: BytesMut::new(), body_bytes_max }
    }

    /// The next frame, or `None` when the peer has closed the stream between two frames.
    ///
    /// Safe to drop between polls: bytes that have arrived stay in the reader.
    ///
    /// # Errors
    /// The stream's own; `InvalidData` for a header over the limit, `FileTooLarge` for a body; `UnexpectedEof` inside a frame.
    pub async fn read(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.take()? {
                return Ok(Some(frame));
            }
            if self.buffer.capacity() == self.buffer.len() {
                self.buffer.reserve(self.growth());
            }
            if stream.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the stream ended inside a frame"))
                };
            }
        }
    }

    /// Splits off a whole frame, if one is there.
    fn take(&mut self) -> io::Result<Option<Frame>> {
        let Some((header_len, body_len)) = self.lengths()? else { return Ok(None) };
        if self.buffer.len() < PREFIX_BYTES + header_len + body_len {
            return Ok(None);
        }
        self.buffer.advance(PREFIX_BYTES);
        let header = self.buffer.split_to(header_len).freeze();
        let body = self.buffer.split_to(body_len).freeze();
        Ok(Some(Frame { header, body }))
    }

    fn lengths(&self) -> io::Result<Option<(usize, usize)>> {
        let Some(prefix) = self.buffer.first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
        let [a, b, c, d, e, f, g, h] = *prefix;
        let (header_len, body_len) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        if header_len > HEADER_BYTES_MAX {
            let text =
                format!("a frame header of {header_len} bytes; at most {HEADER_BYTES_MAX} are allowed");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        if body_len > self.body_bytes_max {
            let text =
                format!("a frame body of {body_len} bytes; at most {} are allowed", self.body_bytes_max);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
        Ok(Some((header_len as usize, body_len as usize)))
    }

    /// How much to reserve: what the frame lacks, once it has shown with its first bytes that it means its length.
    fn growth(&self) -> usize {
        let believed = if self.buffer.len() < GROWTH_BYTES_MAX { GROWTH_BYTES_MAX } else { usize::MAX };
        self.missing().min(believed).max(BUFFER_BYTES)
    }

    /// Bytes that the frame in the buffer still lacks, as far as its prefix has come.
    fn missing(&self) -> usize {
        match self.lengths() {
            Ok(Some((header_len, body_len))) => {
                (PREFIX_BYTES + header_len + body_len).saturating_sub(self.buffer.len())
            }
            Ok(None) | Err(_) => 0,
        }
    }
}

/// Writes one frame whose body stands in several pieces, without joining them.
///
/// # Errors
/// The stream's own; `InvalidInput` if header or body do not fit their length fields.
pub async fn write(stream: &mut (impl AsyncWrite + Unpin), header: &[u8], body: &[Bytes]) -> io::Result<()> {
    let prefix = prefix(header, body)?;
    if body.iter().all(Bytes::is_empty) {
        // The usual small frame: one buffer, one system call.
        let mut frame = Vec::with_capacity(PREFIX_BYTES + header.len());
        frame.extend_from_slice(&prefix);
        frame.extend_from_slice(header);
        return stream.write_all(&frame).await;
    }
    let mut slices: Vec<IoSlice<'_>> = Vec::with_capacity(body.len() + 2);
    slices.push(IoSlice::new(&prefix));
    slices.push(IoSlice::new(header));
    slices.extend(body.iter().map(|piece| IoSlice::new(piece)));
    let mut rest: &mut [IoSlice<'_>] = &mut slices;
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        let written = stream.write_vectored(rest).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        IoSlice::advance_slices(&mut rest, written);
    }
    Ok(())
}

/// The eight bytes before a header.
pub fn prefix(header: &[u8], body: &[Bytes]) -> io::Result<[u8; PREFIX_BYTES]> {
    let too_large =
        |what: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("{what} is too large for a frame"));
    let header_len = u32::try_from(header.len()).ok().filter(|len| *len <= HEADER_BYTES_MAX);
    let body_len = u32::try_from(body.iter().map(Bytes::len).sum::<usize>()).ok();
    let header_len = header_len.ok_or_else(|| too_large("the header"))?.to_le_bytes();
    let body_len = body_len.ok_or_else(|| too_large("the body"))?.to_le_bytes();
    let [a, b, c, d] = header_len;
    let [e, f, g, h] = body_len;
    Ok([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().unwrap()
    }

    async fn read_all(bytes: &[u8], chunk: usize) -> io::Result<Vec<Frame>> {
        let (mut near, mut far) = tokio::io::duplex(chunk);
        let bytes = bytes.to_vec();
        let (frames, written) = tokio::join!(
            // Takes its end along, so that the writer is not left waiting when the reader gives up.
            async move {
                let mut reader = FrameReader::new(1 << 20);
                let mut frames = Vec::new();
                while let Some(frame) = reader.read(&mut far).await? {
                    frames.push(frame);
                }
                Ok(frames)
            },
            async {
                // The reader may refuse early; then the pipe is closed and the rest can't be written.
                near.write_all(&bytes).await.ok();
                drop(near);
            }
        );
        let () = written;
        frames
    }

    proptest! {
        #[test]
        fn frames_survive_any_chunking(
            frames in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..300), prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5000), 0..4)), 0..6),
            chunk in 1_usize..4000,
        ) {
            let expected: Vec<Frame> = frames.iter()
                .map(|(header, body)| Frame { header: Bytes::from(header.clone()), body: Bytes::from(body.concat()) })
                .collect();
            let got = runtime().block_on(async {
                let mut bytes = Vec::new();
                for (header, body) in &frames {
                    let body: Vec<Bytes> = body.iter().cloned().map(Bytes::from).collect();
                    write(&mut bytes, header, &body).await.unwrap();
                }
                read_all(&bytes, chunk).await.unwrap()
            });
            prop_assert_eq!(got, expected);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), chunk in 1_usize..50) {
            // Either frames or an error; a length field of 4 GiB must not be believed before the bytes come.
            let _outcome = runtime().block_on(read_all(&bytes, chunk));
        }
    }

    #[test]
    fn an_end_inside_a_frame_is_an_error() {
        let error = runtime().block_on(read_all(&[5, 0, 0, 0, 0, 0, 0, 0, b'{'], 64)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_header_over_the_limit_is_refused() {
        let mut bytes = (HEADER_BYTES_MAX + 1).to_le_bytes().to_vec();
        bytes.extend([0; 4]);
        let error = runtime().block_on(read_all(&bytes, 64)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}

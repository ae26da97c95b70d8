//! A reader that returns its bytes in given pieces.

#![allow(dead_code)] // Each test program uses only a part of this file.

use std::io::{self, Read};
use std::iter;
use std::thread;
use std::time::Duration;

/// A reader whose reads return at most the rest of one piece.
#[derive(Debug)]
pub(crate) struct Pieces<I: Iterator> {
    pieces: I,
    piece: Option<I::Item>,
    /// The number of bytes of the piece that were read.
    at: usize,
}

impl<I: Iterator> Pieces<I> {
    pub(crate) fn new(pieces: impl IntoIterator<IntoIter = I, Item = I::Item>) -> Self {
        Self { pieces: pieces.into_iter(), piece: None, at: 0 }
    }
}

impl<I: Iterator<Item: AsRef<[u8]>>> Read for Pieces<I> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let rest = self.piece.as_ref().map_or(&[][..], |piece| &piece.as_ref()[self.at..]);
            if !rest.is_empty() {
                let count = rest.len().min(buffer.len());
                buffer[..count].copy_from_slice(&rest[..count]);
                self.at += count;
                return Ok(count);
            }
            self.piece = self.pieces.next();
            self.at = 0;
            if self.piece.is_none() {
                return Ok(0);
            }
        }
    }
}

/// Returns a reader of these bytes in pieces of these sizes, which repeat. Without sizes,
/// everything is one piece.
pub(crate) fn in_pieces(bytes: impl Into<Vec<u8>>, sizes: &[usize]) -> impl Read + Send + 'static {
    let (bytes, sizes) = (bytes.into(), sizes.to_vec());
    let (mut at, mut count) = (0, 0);
    Pieces::new(iter::from_fn(move || {
        let size = sizes.get(count % sizes.len().max(1)).map_or(usize::MAX, |&size| size.max(1));
        count += 1;
        let rest = &bytes[at..];
        let piece = rest[..size.min(rest.len())].to_vec();
        at += piece.len();
        (!piece.is_empty()).then_some(piece)
    }))
}

/// Returns a reader that repeats these bytes without end, once a millisecond.
pub(crate) fn dripping(bytes: impl Into<Vec<u8>>) -> impl Read + Send + 'static {
    let bytes = bytes.into();
    Pieces::new(iter::repeat_with(move || {
        thread::sleep(Duration::from_millis(1));
        bytes.clone()
    }))
}

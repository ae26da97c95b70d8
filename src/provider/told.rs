//! How much of a text has been told, so that a later telling of the whole can be compared with it.

/// The length and a hash of a text that came in pieces: the text itself is not kept twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    bytes: usize,
    hash: u64,
}

/// FNV-1a, since it reads a text alike however it is cut.
/// (<https://datatracker.ietf.org/doc/html/draft-eastlake-fnv>)
const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

impl Default for Told {
    fn default() -> Self {
        Self { bytes: 0, hash: BASIS }
    }
}

impl Told {
    pub(super) fn of(text: &str) -> Self {
        let mut told = Self::default();
        told.add(text);
        told
    }

    pub(super) fn add(&mut self, piece: &str) {
        self.bytes += piece.len();
        for byte in piece.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(PRIME);
        }
    }

    pub(super) fn is_empty(self) -> bool {
        self.bytes == 0
    }

    /// What `whole` tells beyond this. It is `None` if a piece is missing before that: `whole` is
    /// longer, and does not begin with what was told. A shorter one misses nothing, since servers
    /// trim the text that they tell again.
    pub(super) fn rest(self, whole: &str) -> Option<&str> {
        if whole.len() <= self.bytes {
            return Some("");
        }
        let (start, rest) = whole.split_at_checked(self.bytes)?;
        (Self::of(start) == self).then_some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_is_compared_with_its_pieces() {
        let mut told = Told::default();
        assert!(told.is_empty() && told.rest("all of it") == Some("all of it"));
        told.add("Hé");
        told.add("llo");
        assert_eq!(told, Told::of("Héllo"));
        for (whole, rest) in [
            ("Héllo", Some("")),
            ("Héllo there", Some(" there")),
            ("", Some("")),
            ("Héll", Some("")),
            ("Hello", Some("")),
            ("Héxxllo", None),
            ("Hexlloé", None),
            ("日本語", None),
        ] {
            assert_eq!(told.rest(whole), rest, "{whole}");
        }
    }
}

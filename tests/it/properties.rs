//! Any bytes in any pieces never cause a panic, give the same result however they are split, and
//! take no more memory than the limits allow.

use std::time::{Duration, Instant};

use kerb_stream::Protocol;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::Config;

use crate::support::bytes::{WORDS, decode_in_any_pieces, seeds};

fn protocols() -> impl Strategy<Value = Protocol> {
    prop::sample::select(Protocol::ALL)
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    vec(1_usize..40, 0..6)
}

/// A change to a stream: the kind, the position (in 65,536ths of the stream), the length, and a
/// value that selects what is changed or inserted.
type Change = (u8, u16, u16, u8);

fn changed(protocol: Protocol, seed: usize, changes: &[Change]) -> Vec<u8> {
    let seeds = seeds(protocol);
    let mut bytes = seeds[seed % seeds.len()].clone().into_bytes();
    for &(kind, at, length, what) in changes {
        let at = bytes.len() * usize::from(at) / 65_536;
        let end = bytes.len().min(at + usize::from(length) % 64);
        match kind % 5 {
            0 if at < bytes.len() => bytes[at] ^= 1 << (what % 8),
            1 => drop(bytes.drain(at..end)),
            2 => drop(bytes.splice(at..at, WORDS[usize::from(what) % WORDS.len()].bytes())),
            3 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let other = seeds[usize::from(what) % seeds.len()].as_bytes();
                let from = other.len() * usize::from(length) / 65_536;
                bytes.splice(at..at, other[from..].iter().copied().take(200));
            }
        }
    }
    bytes
}

proptest! {
    #![proptest_config(Config { cases: 400, failure_persistence: None, ..Config::default() })]

    #[test]
    fn any_bytes_in_any_pieces(protocol in protocols(), bytes in vec(any::<u8>(), 0..400), sizes in sizes()) {
        decode_in_any_pieces(protocol, &bytes, &[&sizes]);
    }

    #[test]
    fn any_words_in_any_pieces(
        protocol in protocols(),
        words in vec(prop::sample::select(WORDS), 0..60),
        sizes in sizes(),
    ) {
        decode_in_any_pieces(protocol, words.concat().as_bytes(), &[&sizes]);
    }

    #[test]
    fn damaged_streams_in_any_pieces(
        protocol in protocols(),
        seed in any::<usize>(),
        changes in vec(any::<Change>(), 1..12),
        sizes in sizes(),
    ) {
        let bytes = changed(protocol, seed, &changes);
        decode_in_any_pieces(protocol, &bytes, &[&sizes, &[1]]);
    }
}

/// Decodes a few damaged streams for each protocol, or as many as fit into `KERB_STREAM_FUZZ`
/// seconds. The programs in `fuzz/` do the same, guided by coverage.
#[test]
fn damaged_streams_for_as_long_as_is_asked_for() {
    const FEW: u64 = 300;
    let time = std::env::var("KERB_STREAM_FUZZ").ok();
    let time = time.map(|seconds| Duration::from_secs_f64(seconds.parse().unwrap()));
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    for &protocol in Protocol::ALL {
        let started = Instant::now();
        let mut runs = 0_u64;
        while time.map_or(runs < FEW, |time| started.elapsed() < time) {
            let changes: Vec<Change> = (0..1 + next() % 12)
                .map(|_| {
                    let [a, b, c, d, e, f, ..] = next().to_le_bytes();
                    (a, u16::from_le_bytes([b, c]), u16::from_le_bytes([d, e]), f)
                })
                .collect();
            let bytes = changed(protocol, next() as usize, &changes);
            let sizes = [1 + next() as usize % 40, 1 + next() as usize % 9];
            decode_in_any_pieces(protocol, &bytes, &[&sizes]);
            runs += 1;
        }
        println!("{protocol}: {runs} streams in {:?}", started.elapsed());
        assert!(runs > 0, "no time for a single stream");
    }
}

//! Fuzzes `from_reader` and the decoder of a protocol with any bytes in any pieces, guided by
//! coverage.
//!
//! It runs with the stable toolchain, in this folder:
//!
//! ```text
//! PROTOCOL=messages cargo run --bin decode -- -max_total_time=600 corpus/messages
//! ```

#![no_main]

use std::sync::LazyLock;

use kerb_stream::Protocol;
use libfuzzer_sys::fuzz_target;

#[path = "../tests/support/bytes.rs"]
mod bytes;
#[path = "../tests/support/outcome.rs"]
mod outcome;
#[path = "../tests/support/reader.rs"]
mod reader;
#[path = "../tests/support/shapes.rs"]
mod shapes;

/// The protocols to fuzz. Defaults to all, unless `PROTOCOL` names one.
static PROTOCOLS: LazyLock<Vec<Protocol>> = LazyLock::new(|| match std::env::var("PROTOCOL") {
    Ok(name) => vec![name.parse().expect("the name of a protocol")],
    Err(_) => Protocol::ALL.to_vec(),
});

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (protocol, size, data) = input;
    let protocol = PROTOCOLS[usize::from(protocol) % PROTOCOLS.len()];
    bytes::decode_in_any_pieces(protocol, data, &[&[usize::from(size)]]);
});

//! Checks, guided by coverage, that the JSON scanner accepts the same input as `serde_json`, and
//! reads the same values from it.
//!
//! ```text
//! cargo run --bin scanner -- -max_total_time=600 corpus/scanner
//! ```

#![no_main]

use std::fmt::Debug;

use json::{Field, read};
use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use wire::{First, Raw, wire};

#[allow(dead_code)]
#[path = "../src/protocol/json.rs"]
mod json;
#[allow(dead_code)]
#[path = "../src/protocol/visitors/tests.rs"]
mod visitors;
#[allow(dead_code)]
#[path = "../src/protocol/wire.rs"]
mod wire;

/// The path under which the included files look for each other.
mod protocol {
    pub(crate) use super::{json, visitors, wire};
}

wire! {
    struct Outer { kind = "type", inner: Option<Inner<'a>>, items: First<Inner<'a>> }
    struct Inner by index { index, text, inner: Innermost<'a> }
    struct Innermost { text }
}

visitors::visitors! { Outer: kind = "type"; inner = "inner"; items = "items"; }
visitors::visitors! { Inner: index = "index"; text = "text"; inner = "inner"; }
visitors::visitors! { Innermost: text = "text"; }

fn compare<'a, T: Field<'a> + Deserialize<'a> + Debug + PartialEq>(json: &'a str) {
    match (read::<T>(json), serde_json::from_str::<T>(json)) {
        (Ok(ours), Ok(theirs)) => assert_eq!(ours, theirs),
        (Err(error), Err(_)) => assert!(!error.is_data(), "{error}"),
        (ours, theirs) => panic!("{ours:?}, but {theirs:?}"),
    }
}

fuzz_target!(|json: &str| {
    compare::<Raw<'_>>(json);
    compare::<Outer<'_>>(json);
    compare::<Innermost<'_>>(json);
});

//! Tests of the public API: against scripted servers in this process, and against recordings. A test
//! that needs its own process is a file beside this folder, which says why.

#![cfg(test)] // Clippy then treats helpers as tests, which may unwrap (clippy.toml).

#[path = "../support/mod.rs"]
mod support;

mod accounted;
mod api;
mod contributing;
mod demo;
mod examples;
mod extras;
mod faults;
mod limits;
#[cfg(feature = "rustls")] // Its table includes the messages about TLS.
mod messages;
mod properties;
mod readme;
mod recorded_requests;
mod recorded_turns;
mod recordings;
mod reports;
mod round_trip;
mod sources;
#[cfg(feature = "rustls")]
mod tls_sessions;
mod tools;
mod truncation;
mod turns;
mod typed;
#[cfg(feature = "rustls")] // These requests go to hosted providers.
mod vendors;
mod whole_or_cut;

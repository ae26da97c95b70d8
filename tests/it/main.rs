//! What the crate promises, seen from outside: against scripted servers in this process, and against
//! recordings. What needs a process of its own stands beside this folder, and says there why.

#![cfg(test)] // Helpers are tests to clippy, too, and may unwrap as clippy.toml says.

#[path = "../support/mod.rs"]
mod support;

mod api;
mod contributing;
mod demo;
mod examples;
mod faults;
mod limits;
#[cfg(feature = "rustls")] // Its table includes the messages about TLS.
mod messages;
mod properties;
mod readme;
mod recorded_requests;
mod recordings;
mod reports;
mod round_trip;
#[cfg(feature = "rustls")]
mod tls_sessions;
mod tools;
mod truncation;
#[cfg(feature = "rustls")] // These requests go to hosted providers.
mod vendors;
mod whole_or_cut;

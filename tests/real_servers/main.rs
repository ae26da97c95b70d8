//! Tests against real servers: llama.cpp with a small model, a mock of every protocol, nginx in
//! front of it, and proxies. `.ci/run` starts them and sets `KERB_STREAM_…` to their addresses.
//!
//! This is a test program of its own, because these servers run only in one stage of `.ci/run`.

#![cfg(test)] // Clippy treats helpers as tests too, so they may unwrap (clippy.toml).

use std::time::Duration;

use kerb_stream::{Environment, GenerationConfig, Prompt, Protocol, generate_stream};

mod aimock;
mod llama;
mod nginx;
mod proxies;
#[path = "../support/mod.rs"]
mod support;

use support::{Outcome, watchdog};

/// This is far more than any test needs. llama.cpp writes 20 tokens a second on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// Returns the address of a server. A missing server fails the test, because skipping would hide
/// it.
fn server(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("`.ci/run` sets {variable}; it is not set"))
}

/// Returns a configuration that ignores the environment and does not retry.
fn config(base_url: impl Into<String>) -> GenerationConfig {
    GenerationConfig::new("smollm2")
        .base_url(base_url)
        .environment(Environment::empty())
        .max_retries(0)
}

/// Reads the response to a prompt to its end.
fn ask(prompt: impl Into<Prompt>, config: &GenerationConfig) -> Outcome {
    Outcome::of(generate_stream(prompt, config))
}

/// Returns the path that the base URL of this protocol has below the server's address.
fn version(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::GenerateContent => "/v1beta",
        Protocol::CohereChat => "/v2",
        _ => "/v1",
    }
}

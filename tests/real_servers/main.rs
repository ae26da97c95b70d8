//! Against real servers: llama.cpp with a small model, a mock of every protocol, nginx in front of it,
//! and proxies. `.ci/run` starts them and says in `KERB_STREAM_…` where they are.
//!
//! It stands alone because all of it needs those servers, which run only in a stage of their own.

#![cfg(test)] // Helpers are tests to clippy, too, and may unwrap as clippy.toml says.

use std::time::Duration;

use kerb_stream::{Environment, GenerationConfig, Prompt, Protocol, generate_stream};

mod aimock;
mod llama;
mod nginx;
mod proxies;
#[path = "../support/mod.rs"]
mod support;

use support::{Outcome, watchdog};

/// Far above what any test needs: llama.cpp writes 20 tokens a second where the machine is busy.
const LIMIT: Duration = Duration::from_secs(120);

/// Where a server is. Without it a test fails: a server that is missing is no reason to pass.
fn server(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("`.ci/run` sets {variable}; it is not set"))
}

/// A configuration that depends on nothing around the test, and does not try again.
fn config(base_url: impl Into<String>) -> GenerationConfig {
    GenerationConfig::new("smollm2")
        .base_url(base_url)
        .environment(Environment::empty())
        .max_retries(0)
}

/// What a program sees of the answer to a prompt.
fn ask(prompt: impl Into<Prompt>, config: &GenerationConfig) -> Outcome {
    Outcome::of(generate_stream(prompt, config))
}

/// The path below a server's address that its clients call the base URL.
fn version(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::GenerateContent => "/v1beta",
        Protocol::CohereChat => "/v2",
        _ => "/v1",
    }
}

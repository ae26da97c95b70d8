//! Against real servers: llama.cpp with a small model, a mock of every protocol, nginx in front of it,
//! and proxies. `.ci/run` starts them and says in `KERB_STREAM_…` where they are.

#![cfg(test)] // Helpers are tests to clippy, too, and may unwrap as clippy.toml says.

use std::time::Duration;

use kerb_stream::{
    Environment, Error, GenerationConfig, GenerationResponse, Prompt, Protocol, StreamChunk,
    generate_stream,
};

mod aimock;
mod llama;
mod nginx;
mod proxies;
#[path = "../support/mod.rs"]
mod support;

use support::watchdog;

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

/// What a program sees of a whole run: the chunks, the response, and how it ended.
struct Run {
    chunks: Vec<StreamChunk>,
    response: GenerationResponse,
    error: Option<Error>,
}

impl Run {
    fn new(prompt: impl Into<Prompt>, config: &GenerationConfig) -> Self {
        let mut stream = generate_stream(prompt, config);
        let (mut chunks, mut error) = (Vec::new(), None);
        for item in &mut stream {
            assert!(error.is_none(), "an item after the error");
            match item {
                Ok(chunk) => chunks.push(chunk),
                Err(failure) => error = Some(Error::of(&failure).expect("our own error").clone()),
            }
        }
        Self { chunks, response: stream.response().clone(), error }
    }

    /// The response of a run that must have ended well.
    #[track_caller]
    fn whole(self) -> GenerationResponse {
        match self.error {
            None => self.response,
            Some(error) => panic!("{}", chain(&error)),
        }
    }

    /// The error of a run that must have failed.
    #[track_caller]
    fn error(&self) -> &Error {
        self.error.as_ref().unwrap_or_else(|| panic!("it ended well: {:?}", self.response))
    }
}

/// An error with its causes, as `{:#}` prints it.
fn chain(error: &Error) -> String {
    format!("{:#}", anyhow::Error::new(error.clone()))
}

/// The path below a server's address that its clients call the base URL.
fn version(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::GenerateContent => "/v1beta",
        Protocol::CohereChat => "/v2",
        _ => "/v1",
    }
}

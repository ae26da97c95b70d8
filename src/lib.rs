//! Stream answers from language models through a plain, blocking iterator.

mod cancel;
mod chunk;
mod config;
mod environment;
mod error;
mod http;
mod message;
mod model;
mod provider;
mod request;
mod response;
mod retry;
mod sse;
mod stream;
mod terminal;
mod transport;

pub use cancel::CancelHandle;
pub use chunk::{FinishReason, StreamChunk, ToolCallDelta, Usage};
pub use config::{GenerationConfig, Proxy, Reasoning, ResponseFormat, Tool, ToolChoice};
pub use environment::Environment;
pub use error::{ApiError, Error, ErrorKind, Failure};
pub use message::{Image, Message, MessageRole, Prompt, ToolCall};
pub use model::ModelName;
pub use provider::{LlmProvider, Protocol};
pub use request::Request;
pub use response::GenerationResponse;
pub use stream::GenerationStream;
pub use terminal::{TerminalSafe, terminal_safe};

/// Asks a model, and gives its answer piece by piece while it is written.
pub fn generate_stream(
    prompt: impl Into<Prompt>,
    config: impl Into<GenerationConfig>,
) -> GenerationStream {
    GenerationStream::new(prompt.into(), config.into())
}

/// Asks a model, and waits for the whole answer: the same stream, folded.
pub fn generate(
    prompt: impl Into<Prompt>,
    config: impl Into<GenerationConfig>,
) -> anyhow::Result<GenerationResponse> {
    generate_stream(prompt, config).into_response()
}
